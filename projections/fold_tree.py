"""Folds the log into the node table. The table is a function of the last event of each node."""

from collections.abc import Sequence
from importlib import resources
from itertools import groupby

import apsw

from eventlog.events import Content, Created, Described, Modified, Moved, Record, Removed, State

_OUTSTANDING = (Content.PENDING, Content.SKIPPED, Content.FAILED)

_PUT = (
    "insert into nodes (number, position, parent, name, fs, ino, content)"
    " values (?, ?, ?, ?, ?, ?, ?) on conflict (number) do update set"
    " position = excluded.position, content = excluded.content"
)
"""Insert, or change what every event changes. SQLite writes an index anew when one of its columns
is named in the update, changed or not: so what an event cannot have changed is not named."""

_TOUCH = f"{_PUT}, fs = excluded.fs, ino = excluded.ino"
_PLACE = f"{_TOUCH}, parent = excluded.parent, name = excluded.name"
_BURY = (
    "insert or replace into nodes (number, position, parent, name, fs, ino, content)"
    " values (?, ?, null, null, null, null, null)"
)

Row = tuple[object, ...]


class TreeFold:
    """Keeps the table of `tree.sql`."""

    name: str = "tree"
    version: int = 1
    schema: str = resources.files("projections").joinpath("tree.sql").read_text()
    tables: tuple[str, ...] = ("nodes",)

    def apply(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Fold records, in order of position."""
        for statement, group in groupby(map(_statement, records), key=lambda pair: pair[0]):
            connection.executemany(statement, [row for _, row in group])


def _statement(record: Record) -> tuple[str, Row]:
    """Return what an event does to the table.

    Every state event can also be the first that is left of its node, after a compaction: then it
    inserts the node as `Created` does, for it has the whole state.
    """
    match record.event:
        case Removed():
            return _BURY, (record.node, record.position)
        case Created(state=state) | Moved(state=state):
            return _PLACE, _row(record, state)
        case Modified(state=state):
            return _TOUCH, _row(record, state)
        case Described(state=state):
            return _PUT, _row(record, state)


def _row(record: Record, state: State) -> Row:
    content = state.content if state.content in _OUTSTANDING else None
    return (
        record.node,
        record.position,
        state.parent,
        state.name,
        state.fs,
        signed(state.ino),
        content,
    )


def signed(inode: int) -> int:
    """Return an inode number as SQLite can hold it: its integers have a sign, inodes do not.

    Filesystems that join others (mergerfs, for one) use all 64 bits.
    """
    return inode if inode < 2**63 else inode - 2**64
