"""Which places the latest events were about, for those who keep copies of what is there."""

from collections.abc import Iterator
from typing import NamedTuple

import apsw

from eventlog.events import AnyEvent, Created, Modified, Moved, Removed, State
from eventlog.schema import batches
from projections.tree import Tree


class Touch(NamedTuple):
    """A place that changed.

    Attributes:
        path: absolute, raw.
        state: of what is there since; None when nothing is there any more.
    """

    path: bytes
    state: State | None


def read_touches(connection: apsw.Connection, after: int) -> tuple[int, list[Touch]]:
    """Read what was touched after a position, by a batch of events.

    Descriptions are left out: they change nothing on the disk. So are places below directories that
    are gone themselves.

    Args:
        connection: a reader's; one read transaction is held while this runs.
        after: a position.

    Returns:
        The position of the last event that was read, and what was touched, the latest last.
    """
    with connection:
        batch = next(batches(connection, after), [])
        paths = _Paths(Tree(connection))
        touched = [touch for record in batch for touch in _touches(record.event, paths)]
    return (batch[-1].position if batch else after), touched


class _Paths:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[int, bytes | None] = {}

    def below(self, directory: int, name: bytes) -> bytes | None:
        if directory not in self._known:
            self._known[directory] = self._tree.path(directory)
        above = self._known[directory]
        return None if above is None else above.rstrip(b"/") + b"/" + name


def _touches(event: AnyEvent, paths: _Paths) -> Iterator[Touch]:
    places: list[tuple[int, bytes, State | None]] = []
    if isinstance(event, Created | Modified | Moved):
        places.append((event.state.parent, event.state.name, event.state))
    if isinstance(event, Moved):
        places.append((event.from_parent, event.from_name, None))
    elif isinstance(event, Removed):
        places.append((event.parent, event.name, None))
    for parent, name, state in places:
        path = paths.below(parent, name)
        if path is not None:
            yield Touch(path, state)
