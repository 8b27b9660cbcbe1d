"""Rebuilds the projections from a snapshot and the events after it.

A projection is a function of the last event of each node: compaction, which leaves nothing else,
must not change it. So each node is folded either from the snapshot, when nothing happened to it
afterwards, or from its events after the snapshot alone, of which the first that is left says all
there is to say. Never from both: a compaction may have dropped what lay between.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import apsw

from eventlog import codec, schema
from eventlog.connection import fetch
from eventlog.events import Record
from eventlog.fold import Fold
from projections.frames import SnapshotError
from projections.replay import Fill
from projections.snapshot_file import SnapshotFile
from projections.snapshot_store import line

BATCH = 5_000

LAST = "select position, record from events where node = ? order by position desc limit 1"


def filling(file: SnapshotFile) -> Fill:
    """Return what fills projections from a snapshot and the log after it.

    Args:
        file: a snapshot that was verified.

    Returns:
        For `projections.replay`. It raises `SnapshotError` when the snapshot is not of the log.
    """

    def fill(source: apsw.Connection, target: apsw.Connection, folds: Sequence[Fold]) -> int:
        check_fits(source, file)
        folded, floor = 0, line(source).floor
        for batch in _batches(_unchanged(source, file, floor)):
            folded += len(batch)
            for fold in folds:
                fold.apply(target, batch)
        return folded + schema.fold_all(source, target, folds, file.header.position)

    return fill


def check_fits(source: apsw.Connection, file: SnapshotFile) -> None:
    """Refuse the snapshot of another log, with which a rebuild cannot begin.

    Args:
        source: a connection to the log.
        file: the snapshot.

    Raises:
        SnapshotError: it is one.
    """
    if not line(source).has(file.header):
        raise SnapshotError(f"{file.path}: this is a snapshot of another log; give one of this log")


def _unchanged(source: apsw.Connection, file: SnapshotFile, floor: int) -> Iterator[Record]:
    """Yield what the snapshot says of nodes to which nothing happened since.

    Each is compared with the log, so that a snapshot cannot bring in what the log does not know.
    A squash since, or while the snapshot was taken, has dropped the tombstones up to its floor.
    """
    for record in chain(file.nodes(), file.removed(), file.library()):
        position, raw = (*fetch(source, LAST, (record.node,)), (0, b""))[0]
        if position > file.header.position or (not position and record.position <= floor):
            continue
        if position != record.position or codec.decode_any(raw, position) != record.event:
            raise SnapshotError(
                f"{file.path}: the log does not have the event at position {record.position:,};"
                " replay the log without a snapshot"
            )
        yield record


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    left = iter(records)
    while batch := list(islice(left, BATCH)):
        yield batch
