"""Reads the log in order, for people and audits: a range of positions, of times, of one node.

Every batch is a query of its own, so that no read transaction stays open while the reader works:
one that did would keep the write-ahead log of a running server from being cut.
"""

from collections.abc import Iterator

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import Record
from eventlog.identifiers import NodeIds

Row = tuple[int, int, int, bytes]
"""Position, node, time (microseconds since 1970 UTC) and record of an event."""

BATCH = 1_000
"""Records in memory at a time."""

RANGE = (
    "select position, node, time_us, record from events"
    " where position > ? and position <= ? order by position limit ?"
)
OF_NODE = (
    "select position, node, time_us, record from events"
    " where node = ? and position > ? and position <= ? order by position limit ?"
)
NEXT = "select position, time_us from events where position > ? order by position limit 1"
HEAD = "select coalesce((select seq from sqlite_sequence where name = 'events'), 0)"
META = "select value from meta where key = ?"


def node_ids(connection: apsw.Connection) -> NodeIds:
    """Return what turns the node numbers of this log into public ids and back."""
    return NodeIds(fetch(connection, META, ("id_prefix",))[0][0])


def head(connection: apsw.Connection) -> int:
    """Return the last position that was ever given; 0 in a new log."""
    position: int = fetch(connection, HEAD)[0][0]
    return position


def read(
    connection: apsw.Connection, after: int, upto: int, node: int | None = None
) -> Iterator[Record]:
    """Read records in order.

    Args:
        connection: a reader's.
        after: only positions above this one.
        upto: only positions up to this one.
        node: only records of the node with this number; None for all.

    Yields:
        The records; what a compaction dropped is not there.

    Raises:
        CorruptRecordError: a stored record cannot be decoded.
    """
    while rows := _rows(connection, after, upto, node):
        for position, number, time_us, raw in rows:
            yield Record(position, number, time_us, codec.decode_any(raw, position))
        after = rows[-1][0]


def rows(connection: apsw.Connection, after: int, upto: int) -> Iterator[Row]:
    """Read events in order as they are stored: above one position, up to another."""
    while found := _rows(connection, after, upto, None):
        yield from found
        after = found[-1][0]


def last_before(connection: apsw.Connection, time_us: int) -> int:
    """Return the last position that was appended before a time, in a logarithm of the log's length.

    Args:
        connection: a reader's.
        time_us: microseconds since 1970 UTC.

    Returns:
        A position, not necessarily of an event that is still there; 0 when all are newer.
    """
    low, high = 0, head(connection)
    while low < high:
        middle = (low + high) // 2
        found = fetch(connection, NEXT, (middle,))
        if not found or found[0][1] >= time_us:
            high = middle  # all up to here may be older; what follows is not
        else:
            low = found[0][0]
    return low


def _rows(connection: apsw.Connection, after: int, upto: int, node: int | None) -> list[Row]:
    if node is None:
        found = fetch(connection, RANGE, (after, upto, BATCH))
    else:
        found = fetch(connection, OF_NODE, (node, after, upto, BATCH))
    return found
