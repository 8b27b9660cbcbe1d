"""Reads the whole history: what is in the archive and what is in the log, merged by position."""

import heapq
import stat
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import apsw

from eventlog import codec, history, segment
from eventlog.archive import Archive
from eventlog.connection import fetch
from eventlog.events import Moved, Record, Removed
from eventlog.history import BATCH, RANGE, Row
from eventlog.segment import Segment

MERGED = "select coalesce((select value from meta where key = 'merged'), 0)"


def read(
    connection: apsw.Connection,
    archive: Archive | None,
    after: int,
    upto: int,
    node: int | None = None,
) -> Iterator[Record]:
    """Read every event that is known, in order, each once; beside a running compaction too.

    Memory does not grow with the history. Of the log, every batch is a query of its own.

    Args:
        connection: a reader's.
        archive: the files; None: only what the log holds.
        after: only positions above this one.
        upto: only positions up to this one.
        node: only records of the node with this number; None for all.

    Raises:
        LogError: the log or a file of the archive cannot be read.
    """
    if archive is None:
        yield from history.read(connection, after, upto, node)
        return
    for position, number, time_us, raw in _rows(connection, archive, after, upto):
        if node is None or node == number:
            yield Record(position, number, time_us, codec.decode_any(raw, position))


def gone_directories(connection: apsw.Connection, archive: Archive | None) -> dict[int, Removed]:
    """Return the tombstones of directories that a squash dropped, by their numbers.

    Without them, what was below these directories cannot be shown where it was. They are in memory
    together, some 300 bytes each.

    Args:
        connection: a reader's.
        archive: where they are; None: they are not known.

    Raises:
        LogError: a file of the archive cannot be read.
    """
    floor = int(fetch(connection, history.META, ("floor",))[0][0])
    if archive is None or not floor:
        return {}
    return {
        record.node: record.event
        for record in read(connection, archive, 0, floor)
        if isinstance(record.event, Removed) and stat.S_ISDIR(record.event.mode)
    }


def moved_directories(
    connection: apsw.Connection, archive: Archive | None, after: int
) -> Iterator[tuple[int, int, Moved]]:
    """Read the moves of directories: position, node and event, in order; otherwise as `read`.

    Args:
        connection: a reader's.
        archive: the files; None: only what the log holds.
        after: only positions above this one.
    """
    upto = history.head(connection)
    if archive is None:
        rows = history.rows(connection, after, upto)
    else:
        rows = _rows(connection, archive, after, upto)
    for position, node, _, raw in rows:
        if codec.is_move(raw):
            event = codec.decode(raw, position)
            if isinstance(event, Moved) and event.state.is_directory:
                yield position, node, event


def _rows(connection: apsw.Connection, archive: Archive, after: int, upto: int) -> Iterator[Row]:
    while after < upto:
        # Before the files are listed: then all that was dropped up to here is in those.
        merged = _merged(connection)
        for cluster in _clusters(archive.segments(connection, after, upto)):
            end = min(upto, max(file.upto for file in cluster))
            for row in _united(connection, cluster, after, end):
                yield row
            after = end
        for row in _log(connection, after, upto, merged):
            yield row
            after = row[0]
        if merged == _merged(connection):
            return


def _log(connection: apsw.Connection, after: int, upto: int, merged: int) -> Iterator[Row]:
    """Read the log alone, until a compaction drops what might be still to come."""
    while after < upto:
        with connection:
            rows = fetch(connection, RANGE, (after, upto, BATCH))
            if not rows or _merged(connection) != merged:
                return
        yield from rows
        after = rows[-1][0]


def _merged(connection: apsw.Connection) -> int:
    return int(fetch(connection, MERGED)[0][0])


def _clusters(files: list[Segment]) -> Iterator[list[Segment]]:
    """Group files that overlap, so that only those are open at the same time."""
    cluster: list[Segment] = []
    for file in files:
        if cluster and file.after >= max(other.upto for other in cluster):
            yield cluster
            cluster = []
        cluster.append(file)
    if cluster:
        yield cluster


def _united(
    connection: apsw.Connection, cluster: list[Segment], after: int, upto: int
) -> Iterator[Row]:
    """Merge some files and the log; what is in several of them comes once."""
    sources = [segment.read(file.path, after, min(upto, file.upto)) for file in cluster]
    merged = heapq.merge(*sources, history.rows(connection, after, upto), key=itemgetter(0))
    for _, same in groupby(merged, key=itemgetter(0)):
        yield next(same)
