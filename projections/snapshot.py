"""A snapshot: the last event of every node as of one position, in one compressed file.

It is what a whole compaction would leave of the log: enough to make the tree again, to serve every
cursor up to its position, and to say what was there then. The framing is that of
`projections.frames`. The frames, in this order, are:

- `H`: a `Header`, not compressed.
- `N`: live nodes, up to `FRAME_ROWS` in each: rows of position, node number, time in microseconds,
  record as the log stores it; in order of parent, raw name, number.
- `I`: where each live node is: rows of node number and which `N` frame, in order of number.
- `R`: nodes that are gone, rows as in `N`, in order of number.
- `L`: entities of the library, live and gone, rows as in `N`, in order of number. Only a snapshot
  that has such frames is of format 2, so that a program that does not know them refuses it.
- `E`: a `Trailer`, not compressed: where each frame begins and with what, counts, the SHA-256.

It is written from one read transaction. Memory grows by one entry of the trailer for each
`FRAME_ROWS` nodes.
"""

import threading
from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from eventlog import history
from eventlog.connection import fetch, translated_errors
from eventlog.durable import SYSTEM, Calls
from eventlog.errors import LogClosedError
from eventlog.replacing import replacing
from projections.frames import FrameWriter

FORMAT = 1
FORMAT_LIBRARY = 2
FRAME_ROWS = 1_000
INDEX_ROWS = 10_000

HEADER, NODES, INDEX, REMOVED, LIBRARY, TRAILER = b"H", b"N", b"I", b"R", b"L", b"E"

META = "select key, value from meta"
NEWEST = "select time_us from events where position <= ? order by position desc limit 1"
COUNT = "select count(*) from nodes where parent is not null"
LIVE = (
    "select n.position, n.number, e.time_us, e.record, n.parent, n.name"
    " from nodes n join events e on e.position = n.position"
    " where n.parent is not null order by n.parent, n.name, n.number"
)
NUMBERS = "select number, parent, name from nodes where parent is not null order by number"
GONE = (
    "select n.position, n.number, e.time_us, e.record"
    " from nodes n join events e on e.position = n.position"
    " where n.parent is null order by n.number"
)
ENTITIES = (
    "select l.position, l.number, e.time_us, e.record"
    " from library_entities l join events e on e.position = l.position order by l.number"
)
ANY_ENTITY = "select 1 from library_entities limit 1"
HAS_LIBRARY = "select 1 from sqlite_schema where name = 'library_entities'"

Place = tuple[int, bytes, int]
"""Parent, raw name and number of a node: the order of the live nodes in the file."""

Row = tuple[int, int, int, bytes]
"""Position, node number, time and record."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is of.

    Attributes:
        format: version of the file's format.
        log_id: epoch of the positions in it.
        id_prefix: of the public ids of its nodes.
        position: as of which it is.
        newest_us: when the last event up to there was appended, microseconds since 1970 UTC; 0 in
            an empty log.
        time_us: when it was taken, microseconds since 1970 UTC.
        nodes: how many live nodes it holds.
        meta: the log's own facts (see `schema.sql`), apart from the two above.
    """

    format: int = FORMAT
    log_id: str
    id_prefix: str
    position: int
    newest_us: int
    time_us: int
    nodes: int
    meta: dict[str, str]


class NodesFrame(NamedTuple):
    """Where a frame of live nodes begins in the file, and the place of its first node."""

    start: int
    first: Place


class IndexFrame(NamedTuple):
    """Where a frame of the index begins in the file, and the number of its first node."""

    start: int
    first: int


class Trailer(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a snapshot.

    Attributes:
        nodes, removed: how many live nodes and tombstones there are.
        node_frames, index_frames: the frames of live nodes and of their index.
        removed_frames: where each frame of tombstones begins.
        entities: how many entities of the library there are, gone ones included.
        library_frames: where each frame of them begins.
        sha256: of all bytes before this frame.
    """

    nodes: int
    removed: int
    node_frames: list[NodesFrame]
    index_frames: list[IndexFrame]
    removed_frames: list[int]
    sha256: bytes
    entities: int = 0
    library_frames: list[int] = []


def write(
    connection: apsw.Connection,
    path: Path,
    time_us: int,
    *,
    stop: threading.Event | None = None,
    part: Path | None = None,
    calls: Calls = SYSTEM,
) -> Header:
    """Write a snapshot of a log as it is now.

    Args:
        connection: a reader's; one read transaction is held while this runs.
        path: the file, which is replaced only when all is written and synced.
        time_us: now, microseconds since 1970 UTC.
        stop: set to have it end soon, with nothing changed.
        part: where to write it first; see `eventlog.replacing.replacing`.
        calls: the operating system.

    Returns:
        What it is of.

    Raises:
        LogError: it could not be read or written, or was stopped.
    """
    database = connection.filename
    with (
        replacing(path, part=part, calls=calls) as file,
        translated_errors(database),
        connection,
    ):
        header = header_of(connection, time_us)
        _Writing(connection, FrameWriter(file.write), stop or threading.Event()).all(header)
    return header


def header_of(connection: apsw.Connection, time_us: int) -> Header:
    """Return what a snapshot would be of that was taken now.

    Args:
        connection: a reader's, in the read transaction of the snapshot.
        time_us: now, microseconds since 1970 UTC.
    """
    meta = dict(fetch(connection, META))
    position = history.head(connection)
    newest = fetch(connection, NEWEST, (position,))
    return Header(
        format=FORMAT_LIBRARY if _has_entities(connection) else FORMAT,
        log_id=meta.pop("log_id"),
        id_prefix=meta.pop("id_prefix"),
        position=position,
        newest_us=newest[0][0] if newest else 0,
        time_us=time_us,
        nodes=fetch(connection, COUNT)[0][0],
        meta=meta,
    )


def _has_entities(connection: apsw.Connection) -> bool:
    """Say whether the library knows anything; a log of an older program has no table for it."""
    return bool(fetch(connection, HAS_LIBRARY) and fetch(connection, ANY_ENTITY))


class _Writing:
    def __init__(
        self, connection: apsw.Connection, frames: FrameWriter, stop: threading.Event
    ) -> None:
        self._connection = connection
        self._frames = frames
        self._stop = stop
        self._encode = msgspec.msgpack.Encoder().encode

    def all(self, header: Header) -> None:
        self._frames.put(HEADER, self._encode(header), pack=False)
        nodes, node_frames = self._nodes()
        index_frames = self._index(node_frames)
        removed, removed_frames = self._rows(REMOVED, GONE)
        has_entities = header.format == FORMAT_LIBRARY
        entities, library_frames = self._rows(LIBRARY, ENTITIES) if has_entities else (0, [])
        trailer = Trailer(
            nodes=nodes,
            removed=removed,
            node_frames=node_frames,
            index_frames=index_frames,
            removed_frames=removed_frames,
            sha256=self._frames.digest(),
            entities=entities,
            library_frames=library_frames,
        )
        self._frames.finish(TRAILER, self._encode(trailer))

    def _nodes(self) -> tuple[int, list[NodesFrame]]:
        count, frames = 0, []
        for rows in self._batches(LIVE, FRAME_ROWS):
            start = self._put(NODES, [row[:4] for row in rows])
            _, number, _, _, parent, name = rows[0]
            frames.append(NodesFrame(start, (parent, name, number)))
            count += len(rows)
        return count, frames

    def _index(self, node_frames: list[NodesFrame]) -> list[IndexFrame]:
        firsts = [frame.first for frame in node_frames]
        frames = []
        for rows in self._batches(NUMBERS, INDEX_ROWS):
            found = [(n, bisect_right(firsts, (parent, name, n)) - 1) for n, parent, name in rows]
            frames.append(IndexFrame(self._put(INDEX, found), rows[0][0]))
        return frames

    def _rows(self, kind: bytes, query: str) -> tuple[int, list[int]]:
        count, frames = 0, []
        for rows in self._batches(query, FRAME_ROWS):
            frames.append(self._put(kind, rows))
            count += len(rows)
        return count, frames

    def _put(self, kind: bytes, rows: object) -> int:
        return self._frames.put(kind, self._encode(rows))

    def _batches(self, query: str, size: int) -> Iterator[list[tuple]]:  # type: ignore[type-arg]  # as SQLite gives them
        cursor = self._connection.execute(query)
        while rows := list(islice(cursor, size)):
            if self._stop.is_set():
                raise LogClosedError("the snapshot was stopped; none was made")
            yield rows
