"""What keeps a log small, as the server does it by itself and the commands ask for it."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final, TypeVar

import msgspec

from eventlog.archive import Archive
from eventlog.ballast import Ballast
from eventlog.clock import Clock
from eventlog.compaction import DAY_US, Compactor, Options, Report, Result, no_report
from eventlog.connection import open_reader
from eventlog.log import Log
from eventlog.pace import Pace
from projections.squash import Squashed, finish, squash
from tools import control
from tools.control import Arguments, Handler
from tools.full_disk import FullDisk
from tools.progress import Step
from tools.upkeep import Task

COMPACTION_SECONDS: Final = 86_400.0
"""Between compactions in the background: each writes a file of the archive."""

ARCHIVE_SECONDS: Final = 600.0
"""Between looks whether the archive could be written; else it would show only when it is."""

BACKGROUND_REST: Final = 4.0
"""The writer is left alone four times as long as it was held."""

ASKED_REST: Final = 1.0
"""When someone waits for the end of it."""

T = TypeVar("T")


def window_us(history_days: float) -> int:
    """Return the history window in microseconds."""
    return int(history_days * DAY_US)


class Maintenance:
    """Compacts and squashes the log of a server, or of a command that has it to itself.

    Args:
        log: the open log.
        clock: time.
        history_days: how long every event is kept.
        archive: absolute path of the directory that keeps what is dropped, or None.
        before: called before each compaction, with the position up to which will be merged.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        history_days: float,
        archive: str | None,
        before: Callable[[int], object] = lambda _upto: None,
    ) -> None:
        self._log = log
        self._clock = clock
        self._archive = None if archive is None else Archive(archive)
        options = Options(window_us(history_days), self._archive, before)
        self.compactor = Compactor(log, options, clock)
        self._full_disk = FullDisk(log, self.compactor, Ballast(log.path), clock)

    def tasks(self) -> list[Task]:
        """Return what is to be done from time to time."""
        tasks = [self._full_disk.task(), Task("compaction", COMPACTION_SECONDS, self._compact)]
        if self._archive is not None:
            tasks.append(Task("archive", ARCHIVE_SECONDS, self._check_archive, first_seconds=0))
        return tasks

    @property
    def warnings(self) -> list[str]:
        """What an operator should know."""
        return self._full_disk.warnings

    def commands(self) -> Mapping[str, Handler]:
        """Return what can be asked of a running server."""
        return {"compact": self._compact_asked, "squash": self._squash_asked}

    def squash(
        self, stop: threading.Event, rest: float = 0.0, report: Report = no_report
    ) -> Squashed:
        """Squash the log; see `projections.squash`."""
        return squash(self._log, self.compactor, self._pace(stop, rest), report)

    def _pace(self, stop: threading.Event, rest: float) -> Pace:
        return Pace(self._log, self._clock, stop, rest)

    def _check_archive(self, _: threading.Event) -> None:
        if self._archive is not None:
            with closing(open_reader(self._log.path)) as connection:
                self._archive.check(connection)

    def _compact(self, stop: threading.Event) -> Result:
        finish(self._log, self.compactor, self._pace(stop, BACKGROUND_REST))
        return self.compactor.run(stop, BACKGROUND_REST)

    async def _squash_asked(self, _: Arguments, report: control.Report) -> dict[str, Any]:
        def work(stop: threading.Event, told: Report) -> Squashed:
            return self.squash(stop, ASKED_REST, told)

        return await _in_thread(work, "squashing", "nodes", report)

    async def _compact_asked(self, arguments: Arguments, report: control.Report) -> dict[str, Any]:
        days = arguments.get("history_days")
        window = None if days is None else window_us(float(days))

        def compact(stop: threading.Event, told: Report) -> Result:
            return self.compactor.run(stop, ASKED_REST, told, window)

        return await _in_thread(compact, "compacting", "positions", report)


async def _in_thread(
    work: Callable[[threading.Event, Report], T], what: str, unit: str, report: control.Report
) -> dict[str, Any]:
    """Do work in a thread; when the server stops meanwhile, it is told and ends soon."""
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def told(done: int, of: int) -> None:
        loop.call_soon_threadsafe(report, Step(what, unit, done, of))

    try:
        result = await asyncio.to_thread(work, stop, told)
    finally:
        stop.set()
    made: dict[str, Any] = msgspec.to_builtins(result)
    return made
