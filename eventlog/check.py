"""Proves that a log is whole. It streams: memory does not grow with the log."""

from collections.abc import Iterator

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.errors import CorruptRecordError
from eventlog.events import TOMBSTONES, AnyEvent, Created, Described, Modified, Moved
from eventlog.identifiers import NodeIds

INTEGRITY = "pragma integrity_check(20)"
META = "select key, value from meta"
HEAD = "select coalesce((select seq from sqlite_sequence where name = 'events'), 0)"
TIMES = "select position, time_us from events order by position"
_LATER = (Modified, Moved, Described, *TOMBSTONES)

HISTORIES = "select node, position, record from events order by node, position"


def check(connection: apsw.Connection) -> Iterator[str]:
    """Look for whatever a log may not hold.

    Args:
        connection: a reader's; one read transaction is held while this runs, so that a server may
            go on.

    Yields:
        Problems, one line each; none when all is well. A file that SQLite itself finds damaged is
        not looked at any further.
    """
    try:
        with connection:
            damages = list(_damages(connection))
            yield from damages or _contents(connection)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        yield f"the file is damaged: {error}"


def _damages(connection: apsw.Connection) -> Iterator[str]:
    for (line,) in fetch(connection, INTEGRITY):
        if line != "ok":
            yield f"the file is damaged: {' '.join(line.split())}"


def _contents(connection: apsw.Connection) -> Iterator[str]:
    meta = dict(fetch(connection, META))
    head: int = fetch(connection, HEAD)[0][0]
    floor = int(meta["floor"]) if meta.get("floor", "").isdecimal() else None
    yield from _facts(meta, floor, head)
    yield from _times(connection, head)
    merged = max(floor or 0, _position(meta, "merged"))
    yield from _histories(connection, merged, _position(meta, "compacted"))


def _position(meta: dict[str, str], key: str) -> int:
    """Return a fact that is a position, 0 when it was never set or is told as wrong elsewhere."""
    text = meta.get(key, "0")
    return int(text) if text.isdecimal() else 0


def _facts(meta: dict[str, str], floor: int | None, head: int) -> Iterator[str]:
    if floor is None or floor > head:
        yield f"meta: floor is {meta.get('floor')!r}, which is no position up to the head, {head}"
    for key in ("merged", "compacted"):
        if not meta.get(key, "0").isdecimal() or _position(meta, key) > head:
            yield f"meta: {key} is {meta[key]!r}, which is no position up to the head, {head}"
    if not meta.get("log_id"):
        yield "meta: there is no log_id"
    try:
        NodeIds(meta.get("id_prefix", ""))
    except ValueError as error:
        yield f"meta: {error}"


def _times(connection: apsw.Connection, head: int) -> Iterator[str]:
    last, last_us = 0, 0
    for position, time_us in connection.execute(TIMES):
        if position <= 0:
            yield f"position {position}: positions begin at 1"
        if time_us < last_us:
            yield f"position {position}: its time, {time_us}, is before that of position {last}"
        last, last_us = position, time_us
    if last > head:
        yield f"position {last}: above the head, {head}: it could be given again"


def _histories(connection: apsw.Connection, merged: int, compacted: int) -> Iterator[str]:
    """Check the events of each node, one node after the other.

    Args:
        connection: a reader's.
        merged: of nodes up to here the creation may be gone.
        compacted: up to here each node may have only one event.
    """
    last_node, last_event = 0, None
    for node, position, record in connection.execute(HISTORIES):
        try:
            event = codec.decode_any(record, position)
        except CorruptRecordError as error:
            yield str(error)
            event = None
        first = node != last_node
        if first and node > merged and not _is_birth(node, position, event):
            yield f"position {position}: the first event of node {node} is not its creation"
        if not first and isinstance(last_event, TOMBSTONES):
            yield f"position {position}: node {node} was already gone"
        if not first and isinstance(event, Created):
            yield f"position {position}: node {node} was already there"
        if not first and position <= compacted:
            yield f"position {position}: node {node} has an older event, which was to be dropped"
        last_node, last_event = node, event


def _is_birth(node: int, position: int, event: AnyEvent | None) -> bool:
    """Return whether this can be the first event of a node; what cannot be read is told as such.

    An entity of the library has no event of its own for that, but a tombstone is never the first.
    """
    return node == position and not isinstance(event, _LATER)
