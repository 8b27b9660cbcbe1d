"""What a server does when the disk of its log is full, so that no hand is needed.

Reading goes on, and nothing is half-written; what could not be recorded is found later, because
each root is compared with the disk again. Meanwhile a compaction makes what space it can, with the
ballast's. Only then are others let in again.
"""

import logging
import threading
from typing import Final

from eventlog.ballast import Ballast
from eventlog.clock import Clock
from eventlog.compaction import Compactor, no_report
from eventlog.log import Log
from eventlog.pace import Pace
from projections.squash import finish
from tools.upkeep import Task

LOOK_SECONDS: Final = 5.0
"""How often the disk is looked at."""

AGAIN_SECONDS: Final = 600.0
"""Between two attempts to make space: the ballast is written anew after each."""

STEP_ROWS: Final = 200
"""A step must fit into the ballast many times."""

FULL: Final = (
    "{}: the disk is full: reading goes on, but nothing is recorded; free some space, and what has"
    " changed meanwhile will be found"
)

BARE: Final = (
    "{}: the disk is nearly full: there is no room to keep {} MiB back, without which a full disk"
    " cannot be tidied by itself; free some space"
)

_log = logging.getLogger("nasfeed")


class FullDisk:
    """Keeps the ballast, and gives it up when it is needed.

    Args:
        log: the open log.
        compactor: of the same log.
        ballast: beside it.
        clock: time.
    """

    def __init__(self, log: Log, compactor: Compactor, ballast: Ballast, clock: Clock) -> None:
        self._log = log
        self._compactor = compactor
        self._ballast = ballast
        self._clock = clock
        self._again = float("-inf")
        self._bare = ""

    @property
    def warnings(self) -> list[str]:
        """What an operator should know."""
        if self._log.full or self._log.reserved:
            return [FULL.format(self._log.path)]
        return [self._bare] if self._bare else []

    def task(self) -> Task:
        """Return what is to be done from time to time."""
        return Task("full disk", LOOK_SECONDS, self.tend)

    def tend(self, stop: threading.Event) -> None:
        """Make space if the disk is full; keep the ballast if it is not.

        Raises:
            LogError: no space could be made.
        """
        if self._log.full and self._ballast.has_room:
            self._log.full = False  # someone has made space; the next append tells
        if self._log.full and self._clock.monotonic() >= self._again:
            _log.warning("%s: the disk is full; making space", self._log.path)
            self._relieve(stop)
            self._again = self._clock.monotonic() + AGAIN_SECONDS
        elif not self._log.full and self._ballast.has_room:
            self._ballast.make()
        self._tell_bare()

    def _tell_bare(self) -> None:
        """Say once when there is no ballast, and show it for as long."""
        bare = "" if self._ballast.is_there else BARE.format(self._log.path, self._ballast.mib)
        if bare and bare != self._bare and not self._log.full:
            _log.warning("%s", bare)
        self._bare = bare

    def _relieve(self, stop: threading.Event) -> None:
        self._log.reserved = True
        try:
            self._ballast.give_up()
            pace = Pace(self._log, self._clock, stop, rest=0, size_max=STEP_ROWS)
            finish(self._log, self._compactor, pace)
            freed = self._compactor.relieve(pace, no_report)
            self._ballast.make()
            _log.info("the database is %d bytes smaller", freed.freed_bytes)
        finally:
            self._log.reserved = False
