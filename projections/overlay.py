"""Who was where at a position, of those nodes that have changed since: what the tree of now hides.

A directory's children as of a position are its children of now that have not changed since, and
those nodes that changed since and were in it then. The node table finds the first; this finds the
others.
"""

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import Event, Removed

KEPT_MAX = 4
"""Overlays in memory at a time."""

CHANGED = (
    "select e.position, e.record from nodes n join events e on e.position ="
    " (select max(b.position) from events b where b.node = n.number and b.position <= ?1)"
    " where n.position > ?2 and n.number <= ?1 and not exists"
    " (select 1 from events b where b.node = n.number and b.position > ?1 and b.position <= ?2)"
)
"""The last event up to ?1 of each node whose first event after ?1 came after ?2."""

STORED = "select position, node, time_us, record from events where position = ?"
HEAD = "select coalesce((select seq from sqlite_sequence where name = 'events'), 0)"

Key = tuple[bytes, int]
"""Name and node number: the order of children, also while two of them share a name."""


class Stored(NamedTuple):
    """An event as it is stored.

    Attributes:
        position: its place in the log.
        node: number of the node it is about.
        time_us: when it was appended, microseconds since 1970 UTC.
        record: encoded.
    """

    position: int
    node: int
    time_us: int
    record: bytes

    @property
    def event(self) -> Event:
        """The event, decoded."""
        return codec.decode(self.record, self.position)

    @property
    def key(self) -> Key:
        """Its place among the children of its directory."""
        event = self.event
        name = event.name if isinstance(event, Removed) else event.state.name
        return name, self.node


class Overlay:
    """The nodes that have changed since a position, by the directory that they were in then.

    The first question costs an index lookup and a decoding for each node that has changed since
    the position, some 10 µs; a later one only for those that changed since the last question. It
    keeps 8 bytes for each, and some 200 for each directory. Nodes made since cost next to nothing.

    Args:
        position: as of which.
    """

    def __init__(self, position: int) -> None:
        self._position = position
        self._seen = position
        self._by_parent: dict[int, array[int]] = {}
        self._sorted: set[int] = set()

    def refresh(self, connection: apsw.Connection) -> None:
        """Take in what changed since the last time.

        Args:
            connection: in a read transaction, in which the tree of now is asked as well.
        """
        head: int = fetch(connection, HEAD)[0][0]
        if head == self._seen:
            return
        for position, record in connection.execute(CHANGED, (self._position, self._seen)):
            event = codec.decode(record, position)
            if not isinstance(event, Removed):
                parent = event.state.parent
                self._by_parent.setdefault(parent, array("q")).append(position)
                self._sorted.discard(parent)
        self._seen = head

    def children(
        self, connection: apsw.Connection, parent: int, after: Key, limit: int
    ) -> list[Stored]:
        """Return a page of the nodes that were in a directory and have changed since.

        Costs a sorting of them when they are new here, else a search in the sorted.

        Args:
            connection: as for `refresh`.
            parent: number of the directory.
            after: only what comes after it, in order of name and number.
            limit: at most so many.
        """
        positions = self._ordered(connection, parent)
        first = bisect_right(positions, after, key=lambda p: _stored(connection, p).key)
        return [_stored(connection, p) for p in positions[first : first + limit]]

    def _ordered(self, connection: apsw.Connection, parent: int) -> Sequence[int]:
        positions = self._by_parent.get(parent, array("q"))
        if positions and parent not in self._sorted:
            keyed = sorted((_stored(connection, p).key, p) for p in positions)
            positions = self._by_parent[parent] = array("q", [p for _, p in keyed])
            self._sorted.add(parent)
        return positions


class Overlays:
    """The overlays that were asked for lately; any thread may use it."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Overlay] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def of(self, position: int, connection: apsw.Connection) -> Iterator[Overlay]:
        """Lend the overlay of a position, refreshed; nobody else has one meanwhile.

        An overlay that could not be refreshed is dropped: it may hold half of what it should.

        Args:
            position: as of which.
            connection: in a read transaction.
        """
        with self._lock:
            overlay = self._kept.pop(position, None) or Overlay(position)
            overlay.refresh(connection)
            self._kept[position] = overlay
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
            yield overlay


def _stored(connection: apsw.Connection, position: int) -> Stored:
    return Stored(*fetch(connection, STORED, (position,))[0])
