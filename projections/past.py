"""What was: any node, directory and path as of a position or a time.

The state of a node as of a position is its last event up to there. Compaction keeps the last event
of each node up to `merged`, so from there on the log says exactly what was. Before that there are
the snapshots: the newest one that is not later than what is asked for is shown in its place.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from typing import NamedTuple

import apsw

from eventlog import history
from eventlog.compaction import MERGED
from eventlog.connection import fetch
from eventlog.epochs import is_lost
from eventlog.events import Moved
from projections.frames import DamagedSnapshotError
from projections.overlay import Overlays, Stored
from projections.past_tree import LogTree, PastTree, last_event, path_in_log
from projections.snapshot import Header
from projections.snapshot_file import SnapshotFile
from projections.snapshot_store import SnapshotStore, line
from projections.snapshot_tree import SnapshotTree

OF_NODE = (
    "select position, node, time_us, record from events"
    " where node = ? and position > ? order by position limit ?"
)
TIME = "select time_us from events where position >= ? order by position limit 1"
NEXT = "select position from events where position > ? order by position limit 1"
TIME_UPTO = "select time_us from events where position <= ? order by position desc limit 1"
FACT = "select value from meta where key = ?"


class Coverage(NamedTuple):
    """Which positions can be answered.

    Attributes:
        earliest: the first; 0 when nothing was ever dropped.
        earliest_us: when it was appended, microseconds since 1970 UTC; 0 when nothing was.
        head: the last.
    """

    earliest: int
    earliest_us: int
    head: int


class Why(StrEnum):
    """Why a position cannot be answered."""

    AHEAD = "position_ahead"
    """It has not come yet."""
    LOST = "position_lost"
    """It was given, if ever, by a log that a restore replaced."""
    FORGOTTEN = "before_history"
    """Neither log nor snapshots go back so far."""


class UncoveredError(Exception):
    """The past is asked for at a position of which nothing is known.

    Attributes:
        why: the reason.
        coverage: what could be answered.
    """

    def __init__(self, why: Why, coverage: Coverage) -> None:
        super().__init__(why.value)
        self.why = why
        self.coverage = coverage


class Past:
    """What can be asked of the past, within one read transaction: see `reading`.

    Args:
        connection: in that transaction.
        overlays: kept between questions.
        store: the log's snapshots, or None.
        files: closes the snapshots that were opened.

    Attributes:
        coverage: of the log alone.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        overlays: Overlays,
        store: SnapshotStore | None,
        files: ExitStack,
    ) -> None:
        self._connection = connection
        self._overlays = overlays
        self._store = store
        self._files = files
        self._line = line(connection)
        self.coverage = self._coverage()

    def now(self) -> PastTree:
        """Return the tree as of the head."""
        return self._in_log(self.coverage.head)

    def at(self, position: int) -> PastTree:
        """Return the tree as of a position.

        Raises:
            UncoveredError: nothing is known of it.
            LogError: the snapshots cannot be read.
        """
        if position > self.coverage.head:
            raise UncoveredError(Why.AHEAD, self.coverage)
        if is_lost(position, self._line.gaps):
            raise UncoveredError(Why.LOST, self.coverage)
        if position >= self.coverage.earliest or position == 0:  # every log began empty
            return self._in_log(position)
        return self._in_snapshot(
            lambda header: header.position <= position,
            lambda header: header.position == position,
        )

    def before(self, time_us: int) -> PastTree:
        """Return the tree as it was before a time; of a time to come, as of the head.

        Args:
            time_us: microseconds since 1970 UTC.

        Raises:
            UncoveredError: nothing is known of it.
            LogError: the snapshots cannot be read.
        """
        with suppress(UncoveredError):
            return self._in_log(self.cursor_before(time_us))
        # What was appended between the snapshot and then may have been merged: never exact.
        return self._in_snapshot(lambda header: header.newest_us < time_us, lambda _: False)

    def cursor_before(self, time_us: int) -> int:
        """Return the last position before a time, also of what is no longer there.

        Args:
            time_us: microseconds since 1970 UTC.

        Raises:
            UncoveredError: later ones may have been dropped.
        """
        position = self.last_before(time_us)
        if position >= self.coverage.earliest:
            return position
        if self._is_last_merged(position):
            return self.coverage.earliest
        raise UncoveredError(Why.FORGOTTEN, self.coverage)

    def last_before(self, time_us: int) -> int:
        """Return the last position that was appended before a time, of those that are still there.

        Args:
            time_us: microseconds since 1970 UTC.
        """
        return history.last_before(self._connection, time_us)

    def time_us(self, position: int) -> int:
        """Return when the log had grown to a position, microseconds since 1970 UTC; 0 for never.

        Of a merged position it is the time of the last event before it that is left.
        """
        rows = fetch(self._connection, TIME_UPTO, (position,))
        return int(rows[0][0]) if rows else 0

    def events(self, number: int, after: int, limit: int) -> list[Stored]:
        """Return a page of the events of a node that are still there, in order.

        Args:
            number: of the node.
            after: only positions above it.
            limit: at most so many.
        """
        return [Stored(*row) for row in fetch(self._connection, OF_NODE, (number, after, limit))]

    def path_then(self, stored: Stored) -> bytes | None:
        """Return the path of a node right after an event; of a merged one, where it was later."""
        position = max(stored.position, self.coverage.earliest)
        return path_in_log(self._connection, stored, position)

    def path_before(self, moved: Stored) -> bytes | None:
        """Return the path that a moved node had before; None when that is no longer known.

        Args:
            moved: the event of the move.
        """
        position = moved.position - 1
        if not isinstance(moved.event, Moved) or position < self.coverage.earliest:
            return None
        before = last_event(self._connection, moved.node, position)
        return None if before is None else path_in_log(self._connection, before, position)

    def _is_last_merged(self, position: int) -> bool:
        """Return whether nothing lies between a position and where exact history begins.

        That may begin at a position without an event: a restore leaps over positions. Of what a
        squash dropped nothing is left to tell, so nothing follows from its absence.
        """
        if position <= self._line.floor and self._line.floor:
            return False
        following = fetch(self._connection, NEXT, (position,))
        return not following or following[0][0] > self.coverage.earliest

    def _in_log(self, position: int) -> PastTree:
        covered = self.coverage
        return LogTree(self._connection, position, covered.head, covered.earliest, self._overlays)

    def _in_snapshot(
        self, fits: Callable[[Header], bool], is_exact: Callable[[Header], bool]
    ) -> PastTree:
        """Return the tree of the newest snapshot that fits."""
        earliest = self.coverage
        for listed in self._store.usable(self._line) if self._store else ():
            header = listed.header
            if header is None or header.position > self.coverage.earliest:
                continue
            if fits(header):
                file = self._files.enter_context(SnapshotFile(listed.path))
                return SnapshotTree(self._connection, file, exact=is_exact(header))
            earliest = Coverage(header.position, header.newest_us, earliest.head)
        raise UncoveredError(Why.FORGOTTEN, earliest)

    def _coverage(self) -> Coverage:
        """Return what the log alone can answer.

        `merged`, written by compaction, is the position up to which only the last event of each
        node is left. A squash leaves nothing up to the `floor`.
        """
        merged = fetch(self._connection, FACT, (MERGED,))
        return self.beginning_at(max(int(merged[0][0]) if merged else 0, self._line.floor))

    def beginning_at(self, earliest: int) -> Coverage:
        """Return a coverage that begins at a position."""
        times = fetch(self._connection, TIME, (earliest,)) if earliest else []
        return Coverage(earliest, times[0][0] if times else 0, self._line.head)


@contextmanager
def reading(
    connection: apsw.Connection, overlays: Overlays, store: SnapshotStore | None = None
) -> Iterator[Past]:
    """Ask within one read transaction, so that all answers are of the same moment.

    Args:
        connection: a reader's; a server's write-ahead log cannot be cut meanwhile.
        overlays: kept between questions.
        store: the log's snapshots, or None.

    Raises:
        DamagedSnapshotError: of whoever asks; the snapshot is passed over from then on, so that
            the same question can be asked again.
    """
    try:
        with connection, ExitStack() as files:
            yield Past(connection, overlays, store, files)
    except DamagedSnapshotError as error:
        if store is not None:
            store.distrust(error.path)
        raise
