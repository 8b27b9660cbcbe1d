"""Where nodes are, or last were: also those that are gone, whose tombstones still say where."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Event, Removed

LAST = (
    "select e.position, e.record from nodes n join events e on e.position = n.position"
    " where n.number = ?"
)

REMEMBERED_MAX = 10_000
"""Paths of directories kept in memory."""

_DEPTH_MAX = 10_000
"""A longer chain of directories goes in a circle, which only a damaged log can hold."""


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
        place = _place(event)
        if place.parent == SUPER_ROOT:
            return place.target or place.name
        return self.join(place.parent, place.name)

    def join(self, parent: int, name: bytes) -> bytes:
        """Return the path of a name in a directory; only the name when nothing is known of it."""
        above = self._directory(parent)
        return b"/".join([above.rstrip(b"/"), name]) if above else name

    def _directory(self, number: int) -> bytes:
        """Return the path of a directory; empty when the log knows nothing of it."""
        below: list[tuple[int, bytes]] = []
        path = self._known.get(number)
        while path is None:
            event = self._last(number) if len(below) < _DEPTH_MAX else None
            if event is None:
                path = b""
            elif (place := _place(event)).parent == SUPER_ROOT:
                path = self._remember(number, place.target or place.name)
            else:
                below.append((number, place.name))
                number = place.parent
                path = self._known.get(number)
        for directory, name in reversed(below):
            path = self._remember(directory, b"/".join([path.rstrip(b"/"), name]))
        return path

    def _last(self, number: int) -> Event | None:
        rows = fetch(self._connection, LAST, (number,))
        return codec.decode(rows[0][1], rows[0][0]) if rows else self._gone.get(number)

    def _remember(self, number: int, path: bytes) -> bytes:
        self._known[number] = path
        if len(self._known) > REMEMBERED_MAX:
            self._known.popitem(last=False)
        return path


class _Place(NamedTuple):
    parent: int
    name: bytes
    target: bytes


def _place(event: Event) -> _Place:
    if isinstance(event, Removed):
        return _Place(event.parent, event.name, b"")
    return _Place(event.state.parent, event.state.name, event.state.target)
