"""The tree as of one position, wherever it is read from, and where it is read from the log."""

import heapq
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Event, Removed
from projections.overlay import Key, Overlays, Stored

LAST = (
    "select position, node, time_us, record from events"
    " where node = ? and position <= ? order by position desc limit 1"
)
CHILDREN = (
    "select e.position, e.node, e.time_us, e.record"
    " from nodes n join events e on e.position = n.position"
    " where n.parent = ?1 and n.name >= ?2 and (n.name > ?2 or n.number > ?3) and n.position <= ?4"
    " order by n.name, n.number limit ?5"
)

FIRST: Key = (b"", 0)
"""What comes before all children of a directory."""

_ROOTS = 100
"""Roots read at a time."""

Find = Callable[[int], Stored | None]
"""Returns the last event of a node."""


class PastTree(ABC):
    """The tree as of one position.

    Attributes:
        position: as of which.
        exact: whether it is what was asked for, and not an earlier one in its place.
    """

    def __init__(self, position: int, *, exact: bool) -> None:
        self.position = position
        self.exact = exact

    @abstractmethod
    def last(self, number: int) -> Stored | None:
        """Return the last event of a node, perhaps its tombstone; None when it was not made yet."""

    @abstractmethod
    def children(self, parent: int, after: Key = FIRST, limit: int = 1) -> list[Stored]:
        """Return a page of the nodes in a directory, in order of raw name and number.

        Args:
            parent: number of the directory; `SUPER_ROOT` gives the roots.
            after: only what comes after it; for the next page the key of the last.
            limit: at most so many.
        """

    @abstractmethod
    def path(self, stored: Stored) -> bytes | None:
        """Return the absolute path of a node, or of a tombstone, where the node last was.

        Costs as `last` for each directory above it.

        Args:
            stored: an event of this tree.

        Returns:
            The path; None when it hangs from no root.
        """

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

    def resolve(self, wanted: bytes) -> Stored | None:
        """Return the node at an absolute path, or None; costs as `children` for each directory."""
        for root in self.roots():
            top = target(root.event).rstrip(b"/")
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


class LogTree(PastTree):
    """The tree as of a position from which on the log holds everything.

    Args:
        connection: in a read transaction.
        position: as of which.
        head: of the log, in that transaction.
        merged: position up to which only the last event of each node is left.
        overlays: kept between questions.
    """

    def __init__(
        self, connection: apsw.Connection, position: int, head: int, merged: int, overlays: Overlays
    ) -> None:
        super().__init__(position, exact=True)
        self._connection = connection
        self._head = head
        self._merged = merged
        self._overlays = overlays

    def last(self, number: int) -> Stored | None:
        """Do as described above. Costs one lookup in an index."""
        return last_event(self._connection, number, self.position)

    def children(self, parent: int, after: Key = FIRST, limit: int = 1) -> list[Stored]:
        """Do as described above.

        Costs the page, a step over each child that has changed since, and what an `Overlay` costs.
        As of the head it costs the page.
        """
        bindings = (parent, *after, self.position, limit)
        stayed = [Stored(*row) for row in fetch(self._connection, CHILDREN, bindings)]
        if self.position == self._head:
            return stayed
        with self._overlays.of(self.position, self._connection) as overlay:
            changed = overlay.children(self._connection, parent, after, limit)
        return list(islice(heapq.merge(stayed, changed, key=lambda stored: stored.key), limit))

    def path(self, stored: Stored) -> bytes | None:
        """Do as described above."""
        if not is_gone(stored.event):
            return path_in_log(self._connection, stored, self.position)
        # Those above a tombstone may be gone as well now. They were there when it was made, unless
        # that was merged: then only their last places are known.
        return path_in_log(self._connection, stored, max(stored.position, self._merged))


def is_gone(event: Event) -> bool:
    """Say whether a node is gone after an event."""
    return isinstance(event, Removed)


def is_directory(event: Event) -> bool:
    """Say whether a node is a directory after an event, or was one."""
    return stat.S_ISDIR(event.mode if isinstance(event, Removed) else event.state.mode)


def target(event: Event) -> bytes:
    """Return where a root is, or was; its name where an old tombstone does not say."""
    return event.target or event.name if isinstance(event, Removed) else event.state.target


def path_by(find: Find, stored: Stored, where: Callable[[Stored], bytes]) -> bytes | None:
    """Return the path of a node.

    Args:
        find: returns the last events of those above it.
        stored: its own.
        where: returns the path of a root.

    Returns:
        The path; None when it hangs from no root.
    """
    names: dict[int, bytes] = {}
    found: Stored | None = stored
    gone = is_gone(stored.event)
    # Directories that were seen while they changed places may stand in a circle for a while.
    while found is not None and found.node not in names and (gone or not is_gone(found.event)):
        parent, name = _place(found.event)
        if parent == SUPER_ROOT:
            return b"/".join([where(found).rstrip(b"/"), *reversed(names.values())]) or b"/"
        names[found.node] = name
        found = find(parent)
    return None


def path_in_log(connection: apsw.Connection, stored: Stored, position: int) -> bytes | None:
    """Return where an event left its node, by the names that those above it had at a position.

    Args:
        connection: a reader's.
        stored: the event.
        position: as of which.
    """

    def where(root: Stored) -> bytes:
        before: Stored | None = root
        while before is not None and _is_silent(before.event):
            before = last_event(connection, root.node, before.position - 1)
        return target(root.event if before is None else before.event)

    return path_by(lambda number: last_event(connection, number, position), stored, where)


def _is_silent(event: Event) -> bool:
    return isinstance(event, Removed) and not event.target


def last_event(connection: apsw.Connection, number: int, position: int) -> Stored | None:
    """Return the last event of a node up to a position, or None.

    Entities of the library have numbers, too, and are nobody's business who asks for nodes.
    """
    rows = fetch(connection, LAST, (number, position))
    return Stored(*rows[0]) if rows and codec.is_of_node(rows[0][3]) else None


def _place(event: Event) -> tuple[int, bytes]:
    if isinstance(event, Removed):
        return event.parent, event.name
    return event.state.parent, event.state.name
