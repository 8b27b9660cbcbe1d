"""Takes a log's snapshots when they are due, and removes those that nobody needs any more."""

import logging
import threading

from eventlog.clock import Clock
from eventlog.connection import open_reader
from eventlog.errors import LogFullError
from projections.snapshot_store import Line, Listed, Retention, SnapshotStore, line
from tools.config import snapshot_directory
from tools.document import SnapshotsSection

LOOK_SECONDS = 600.0
"""How often a server looks whether a snapshot is due."""

FRESH_SECONDS = 3600.0
"""A compaction takes a snapshot first unless there is one that is not older."""

_log = logging.getLogger("nasfeed.snapshots")


class Snapshots:
    """The snapshots of one log.

    Args:
        database: the log.
        settings: when they are taken, and how long they are kept.
        clock: time.

    Attributes:
        store: where they are.
    """

    def __init__(self, database: str, settings: SnapshotsSection, clock: Clock) -> None:
        self.store = SnapshotStore(snapshot_directory(database, settings))
        self._database = database
        self._interval_seconds = settings.interval_hours * 3600
        self._retention = Retention(settings.keep, settings.keep_days)
        self._clock = clock
        self._stopping = threading.Event()
        self._seen: Listed | None = None

    @property
    def newest(self) -> Listed | None:
        """The newest snapshot, as far as was looked: at the start and whenever one might be due."""
        return self._seen

    def prepare(self) -> None:
        """Make the directory, and look what is in it.

        Raises:
            LogError: one of the two cannot be done.
        """
        self.store.prepare()
        self._seen = self.store.newest(self._line())

    def take(self) -> tuple[Listed, bool]:
        """Take one now, unless nothing was appended since the newest; remove what may go.

        Returns:
            The newest, and whether it is new.

        Raises:
            LogError: it could not be written, or was stopped.
        """
        connection = open_reader(self._database)
        try:
            now_us = self._clock.now_us()
            taken = self.store.take(connection, now_us, self._stopping)
            self.store.prune(line(connection), self._retention, now_us)
        finally:
            connection.close()
        self._seen = taken[0]
        return taken

    def take_due(self, stop: threading.Event) -> None:
        """Take one if the newest is as old as the interval.

        Args:
            stop: of the thread that calls.

        Raises:
            LogError: see `take`.
        """
        is_due = not stop.is_set() and self._is_due(self._interval_seconds)
        if is_due and self._interval_seconds:
            self._take_and_tell()

    def before_compaction(self, upto: int) -> None:
        """Take one if the newest is not fresh.

        A full disk is no reason to stop what makes space on it.

        Args:
            upto: position up to which the history will be merged.

        Raises:
            LogError: see `take`.
        """
        if not self._is_due(FRESH_SECONDS):
            return
        try:
            self._take_and_tell()
        except LogFullError as error:
            _log.warning("no snapshot before the compaction up to %d: %s", upto, error)

    def stop(self) -> None:
        """Have one that is being taken end soon, unfinished."""
        self._stopping.set()

    def _take_and_tell(self) -> None:
        taken, new = self.take()
        if new and taken.header:
            _log.info("snapshot as of position %d: %s", taken.header.position, taken.path)

    def _is_due(self, seconds: float) -> bool:
        newest = self._seen = self.store.newest(self._line())
        if newest is None or newest.header is None:
            return True
        age_us = self._clock.now_us() - newest.header.time_us
        return (
            not 0 <= age_us < seconds * 1_000_000
        )  # one of the future says that the clock was set

    def _line(self) -> Line:
        connection = open_reader(self._database)
        try:
            return line(connection)
        finally:
            connection.close()
