"""Where nodes are, or last were: also those that are gone, whose tombstones still say where."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple, Self

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Event, Moved, Removed

LAST = (
    "select e.position, e.record from nodes n join events e on e.position = n.position"
    " where n.number = ?"
)

REMEMBERED_MAX = 10_000
"""Paths of directories kept in memory."""

_DEPTH_MAX = 10_000
"""A longer chain of directories goes in a circle, which only a damaged log can hold."""


class Place(NamedTuple):
    """Where a node is.

    Attributes:
        parent: number of the directory that holds it.
        name: its name there.
        target: of a root, its path, if that is known.
    """

    parent: int
    name: bytes
    target: bytes = b""

    @classmethod
    def after(cls, event: Event) -> Self:
        """Return where an event left its node; of a removal, where the node was."""
        if isinstance(event, Removed):
            return cls(event.parent, event.name, event.target)
        return cls(event.state.parent, event.state.name, event.state.target)

    @classmethod
    def before(cls, event: Moved) -> Self:
        """Return where a move took its node from."""
        return cls(event.from_parent, event.from_name)


class LastPaths:
    """Remembers the paths of directories.

    A directory is shown under the name that it has now, or had last.

    Args:
        connection: a reader's.
        gone: tombstones of directories that the log does not hold any more.
    """

    def __init__(
        self, connection: apsw.Connection, gone: Mapping[int, Removed] | None = None
    ) -> None:
        self._connection = connection
        self._gone = gone or {}
        self._known: OrderedDict[int, bytes] = OrderedDict()

    def of(self, event: Event) -> bytes:
        """Return where an event left its node; of a removal, where the node was."""
        place = Place.after(event)
        if place.parent == SUPER_ROOT:
            return place.target or place.name
        return self.join(place.parent, place.name)

    def join(self, parent: int, name: bytes) -> bytes:
        """Return the path of a name in a directory; only the name when nothing is known of it."""
        above = self._directory(parent)
        return b"/".join([above.rstrip(b"/"), name]) if above else name

    def forget(self) -> None:
        """Forget the paths: directories are elsewhere now."""
        self._known.clear()

    def _directory(self, number: int) -> bytes:
        """Return the path of a directory; empty when the log knows nothing of it."""
        below: list[tuple[int, bytes]] = []
        path = self._known.get(number)
        while path is None:
            place = self._place(number) if len(below) < _DEPTH_MAX else None
            if place is None:
                path = b""
            elif place.parent == SUPER_ROOT:
                path = self._remember(number, place.target or place.name)
            else:
                below.append((number, place.name))
                number = place.parent
                path = self._known.get(number)
        for directory, name in reversed(below):
            path = self._remember(directory, b"/".join([path.rstrip(b"/"), name]))
        return path

    def _place(self, number: int) -> Place | None:
        """Return where a directory is; None when nothing is known of it."""
        rows = fetch(self._connection, LAST, (number,))
        last = codec.decode(rows[0][1], rows[0][0]) if rows else self._gone.get(number)
        return Place.after(last) if last else None

    def _remember(self, number: int, path: bytes) -> bytes:
        self._known[number] = path
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return path
