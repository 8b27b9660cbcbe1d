"""Folds the log into the node table. The table is a function of the last event of each node."""

from collections.abc import Sequence
from importlib import resources
from itertools import groupby
from typing import cast

import apsw

from eventlog.arrivals import Arrivals
from eventlog.bulk import BulkInsert, Row
from eventlog.events import (
    AnyEvent,
    Content,
    Created,
    Described,
    Event,
    Modified,
    Moved,
    Record,
    Removed,
)

_OUTSTANDING = frozenset((Content.PENDING, Content.SKIPPED, Content.FAILED))

_COLUMNS = ("number", "position", "parent", "name", "fs", "ino", "content")

_PUT = "on conflict (number) do update set position = excluded.position, content = excluded.content"
"""Insert, or change what every event changes. SQLite writes an index anew when one of its columns
is named in the update, changed or not: so what an event cannot have changed is not named."""

_TOUCH = f"{_PUT}, fs = excluded.fs, ino = excluded.ino"
_PLACE = f"{_TOUCH}, parent = excluded.parent, name = excluded.name"

_INSERTS: dict[type[AnyEvent], BulkInsert] = {
    Created: BulkInsert("nodes", _COLUMNS),
    Moved: BulkInsert("nodes", _COLUMNS, _PLACE),
    Modified: BulkInsert("nodes", _COLUMNS, _TOUCH),
    Described: BulkInsert("nodes", _COLUMNS, _PUT),
    Removed: BulkInsert("nodes", _COLUMNS, _PLACE),
}
"""What an event does to the table.

Every state event can also be the first that is left of its node, after a compaction: then it
inserts the node as `Created` does, for it has the whole state.
"""


class TreeFold:
    """Keeps the table of `tree.sql`."""

    name: str = "tree"
    version: int = 1
    schema: str = resources.files("projections").joinpath("tree.sql").read_text()
    tables: tuple[str, ...] = ("nodes",)

    def apply(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Fold records, in order of position."""
        for kind, group in groupby(records, key=_kind):
            if kind in _INSERTS:  # else they are of the library
                _INSERTS[kind].run(connection, list(map(_row, group)))

    def arrive(self, connection: apsw.Connection, first: int, arrivals: Arrivals) -> None:
        """Fold new nodes; see `eventlog.arrivals.ArrivalFold`."""
        numbers = range(first, first + len(arrivals.records))
        columns = arrivals[:-1]  # all but the records
        _INSERTS[Created].run(connection, list(zip(numbers, numbers, *columns, strict=True)))


def _kind(record: Record) -> type[AnyEvent]:
    return record.event.__class__


def _row(record: Record) -> Row:
    event = cast("Event", record.event)
    if isinstance(event, Removed):
        return (record.node, record.position, None, None, None, None, None)
    state = event.state
    content = state.content
    return (
        record.node,
        record.position,
        state.parent,
        state.name,
        state.fs,
        signed(state.ino),
        content if content in _OUTSTANDING else None,
    )


def signed(inode: int) -> int:
    """Return an inode number as SQLite can hold it: its integers have a sign, inodes do not.

    Filesystems that join others (mergerfs, for one) use all 64 bits.
    """
    return inode if inode < 2**63 else inode - 2**64
