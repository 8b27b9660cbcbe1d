"""What was: any node, directory and path as of a position, read from the log.

The state of a node as of a position is its last event up to there. Compaction keeps the last event
of each node up to `merged`; so what the log says is exact from there on, and nothing is said of
what lies below it.
"""

import heapq
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import apsw

from eventlog import history
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Event, Moved, Removed
from projections.overlay import Key, Overlays, Stored

LAST = (
    "select position, node, time_us, record from events"
    " where node = ? and position <= ? order by position desc limit 1"
)
OF_NODE = (
    "select position, node, time_us, record from events"
    " where node = ? and position > ? order by position limit ?"
)
CHILDREN = (
    "select e.position, e.node, e.time_us, e.record"
    " from nodes n join events e on e.position = n.position"
    " where n.parent = ?1 and n.name >= ?2 and (n.name > ?2 or n.number > ?3) and n.position <= ?4"
    " order by n.name, n.number limit ?5"
)
TIME = "select time_us from events where position >= ? order by position limit 1"
TIME_UPTO = "select time_us from events where position <= ? order by position desc limit 1"
COVERAGE = "select key, value from meta where key in ('merged', 'floor')"

FIRST: Key = (b"", 0)
"""What comes before all children of a directory."""

_ROOTS = 100
"""Roots read at a time."""

_DEPTH_MAX = 10_000
"""A longer chain of directories goes in a circle; Linux opens no path this deep."""


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


class UncoveredError(Exception):
    """The past is asked for at a place of which nothing is known, or that has not come yet.

    Attributes:
        coverage: what could be answered.
        is_ahead: whether the position lies beyond the head.
    """

    def __init__(self, coverage: Coverage, *, is_ahead: bool) -> None:
        super().__init__("ahead of the log" if is_ahead else "before what the log remembers")
        self.coverage = coverage
        self.is_ahead = is_ahead


class PastTree:
    """The tree as of one position.

    Args:
        connection: in a read transaction.
        position: as of which; covered.
        covered: by the log, in that transaction.
        overlays: kept between questions.

    Attributes:
        position: as of which.
        exact: the answers are those of this very position.
    """

    exact = True

    def __init__(
        self, connection: apsw.Connection, position: int, covered: Coverage, overlays: Overlays
    ) -> None:
        self.position = position
        self._connection = connection
        self._covered = covered
        self._overlays = overlays

    def last(self, number: int) -> Stored | None:
        """Return the last event of a node, perhaps its tombstone; None when it was not made yet.

        Costs one lookup in an index.
        """
        return _last(self._connection, number, self.position)

    def children(self, parent: int, after: Key = FIRST, limit: int = 1) -> list[Stored]:
        """Return a page of the nodes in a directory, in order of raw name and number.

        Costs the page, a step over each child that has changed since, and what an `Overlay` costs.
        As of the head it costs the page.

        Args:
            parent: number of the directory; `SUPER_ROOT` gives the roots.
            after: only what comes after it; for the next page the key of the last.
            limit: at most so many.
        """
        bindings = (parent, *after, self.position, limit)
        stayed = [Stored(*row) for row in fetch(self._connection, CHILDREN, bindings)]
        if self.position == self._covered.head:
            return stayed
        with self._overlays.of(self.position, self._connection) as overlay:
            changed = overlay.children(self._connection, parent, after, limit)
        return list(islice(heapq.merge(stayed, changed, key=lambda stored: stored.key), limit))

    def roots(self) -> Iterator[Stored]:
        """Yield all roots; costs as `children`."""
        after = FIRST
        while page := self.children(SUPER_ROOT, after, _ROOTS):
            yield from page
            after = page[-1].key

    def child(self, parent: int, name: bytes) -> Stored | None:
        """Return the node at a place, or None; costs as `children`."""
        found = self.children(parent, (name, 0), 1)
        return found[0] if found and found[0].key[0] == name else None

    def path(self, stored: Stored) -> bytes | None:
        """Return the absolute path of a node, or of a tombstone, where the node last was.

        Costs one lookup in an index for each directory above it.

        Args:
            stored: an event of this tree.

        Returns:
            The path; None when it hangs from no root.
        """
        if not is_gone(stored.event):
            return path(self._connection, stored, self.position)
        # Those above a tombstone may be gone as well now. They were there when it was made, unless
        # that was merged: then only their last places are known.
        return path(self._connection, stored, max(stored.position, self._covered.earliest))

    def resolve(self, wanted: bytes) -> Stored | None:
        """Return the node at an absolute path, or None; costs as `children` for each directory."""
        for root in self.roots():
            top = _target(root.event).rstrip(b"/")
            if wanted.rstrip(b"/") == top or wanted.startswith(top + b"/"):
                found = self._descend(root, wanted[len(top) :].split(b"/"))
                if found is not None:
                    return found
        return None

    def _descend(self, stored: Stored, names: Iterable[bytes]) -> Stored | None:
        found: Stored | None = stored
        for name in filter(None, names):
            if found is None:
                return None
            found = self.child(found.node, name)
        return found


class Past:
    """What can be asked of the past, within one read transaction: see `reading`."""

    def __init__(self, connection: apsw.Connection, overlays: Overlays) -> None:
        self._connection = connection
        self._overlays = overlays
        self.coverage = coverage(connection)

    def now(self) -> PastTree:
        """Return the tree as of the head."""
        return self._tree(self.coverage.head)

    def at(self, position: int) -> PastTree:
        """Return the tree as of a position.

        Raises:
            UncoveredError: it is ahead of the log, or below what the log remembers.
        """
        is_ahead = position > self.coverage.head
        if is_ahead or position < self.coverage.earliest:
            raise UncoveredError(self.coverage, is_ahead=is_ahead)
        return self._tree(position)

    def before(self, time_us: int) -> PastTree:
        """Return the tree as it was before a time; of a time to come, as of the head.

        Args:
            time_us: microseconds since 1970 UTC.

        Raises:
            UncoveredError: the log no longer remembers it.
        """
        return self.at(self.last_before(time_us))

    def last_before(self, time_us: int) -> int:
        """Return the last position that was appended before a time, of those that are still there.

        Args:
            time_us: microseconds since 1970 UTC.
        """
        return history.last_before(self._connection, time_us)

    def time_us(self, position: int) -> int:
        """Return when the log had grown to a position, microseconds since 1970 UTC; 0 for never."""
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
        return path(self._connection, stored, max(stored.position, self.coverage.earliest))

    def path_before(self, moved: Stored) -> bytes | None:
        """Return the path that a moved node had before; None when that is no longer known.

        Args:
            moved: the event of the move.
        """
        event, position = moved.event, moved.position - 1
        if not isinstance(event, Moved) or position < self.coverage.earliest:
            return None
        before = _last(self._connection, moved.node, position)
        return None if before is None else path(self._connection, before, position)

    def _tree(self, position: int) -> PastTree:
        return PastTree(self._connection, position, self.coverage, self._overlays)


@contextmanager
def reading(connection: apsw.Connection, overlays: Overlays) -> Iterator[Past]:
    """Ask within one read transaction, so that all answers are of the same moment.

    Args:
        connection: a reader's; a server's write-ahead log cannot be cut meanwhile.
        overlays: kept between questions.
    """
    with connection:
        yield Past(connection, overlays)


def coverage(connection: apsw.Connection) -> Coverage:
    """Return which positions can be answered.

    `merged`, written by compaction, is the position up to which only the last event of each node
    is left. A squash leaves nothing up to the `floor`.
    """
    meta = {key: int(value) for key, value in fetch(connection, COVERAGE)}
    earliest = max(meta.get("merged", 0), meta.get("floor", 0))
    times = fetch(connection, TIME, (earliest,)) if earliest else []
    return Coverage(earliest, times[0][0] if times else 0, history.head(connection))


def place(event: Event) -> tuple[int, bytes]:
    """Return the parent's number and the name that a node has after an event, or last had."""
    if isinstance(event, Removed):
        return event.parent, event.name
    return event.state.parent, event.state.name


def is_gone(event: Event) -> bool:
    """Say whether a node is gone after an event."""
    return isinstance(event, Removed)


def is_directory(event: Event) -> bool:
    """Say whether a node is a directory after an event, or was one."""
    return stat.S_ISDIR(event.mode if isinstance(event, Removed) else event.state.mode)


def path(connection: apsw.Connection, stored: Stored, position: int) -> bytes | None:
    """Return where an event left its node, by the names that those above it had at a position.

    Args:
        connection: a reader's.
        stored: the event.
        position: as of which.

    Returns:
        The path; None when the node hangs from no root.
    """
    names: list[bytes] = []
    found: Stored | None = stored
    gone = is_gone(stored.event)
    for _ in range(_DEPTH_MAX):
        if found is None or (is_gone(found.event) and not gone):
            return None
        parent, name = place(found.event)
        if parent == SUPER_ROOT:
            top = _root_path(connection, found)
            return b"/".join([top.rstrip(b"/"), *reversed(names)]) or b"/"
        names.append(name)
        found = _last(connection, parent, position)
    return None


def _root_path(connection: apsw.Connection, stored: Stored) -> bytes:
    """Return where a root is, or was: its tombstone does not say, so ask the event before."""
    before: Stored | None = stored
    while before is not None and is_gone(before.event):
        before = _last(connection, before.node, before.position - 1)
    return _target(stored.event if before is None else before.event)


def _target(event: Event) -> bytes:
    return event.name if isinstance(event, Removed) else event.state.target


def _last(connection: apsw.Connection, number: int, position: int) -> Stored | None:
    rows = fetch(connection, LAST, (number, position))
    return Stored(*rows[0]) if rows else None
