"""What the tests of snapshots share: a database in memory with a log's own facts, and shortcuts."""

from collections.abc import Sequence
from pathlib import Path

import apsw

from eventlog.events import Record
from projections import snapshot
from projections.snapshot_file import SnapshotFile
from tests.projections.memory import empty, store

PREFIX = "01234567-89ab-8def-8123-"
LOG_ID = "0123456789abcdef0123456789abcdef"
NOW_US = 1_772_625_600_000_000
"""2026-03-04T12:00:00Z"""


def log_of(records: Sequence[Record]) -> apsw.Connection:
    connection = empty()
    connection.executemany(
        "insert into meta values (?, ?)",
        [("log_id", LOG_ID), ("id_prefix", PREFIX), ("floor", "0"), ("ready", "1")],
    )
    store(connection, records)
    return connection


def snapshot_of(connection: apsw.Connection, path: Path) -> SnapshotFile:
    snapshot.write(connection, path, NOW_US)
    return SnapshotFile(path)


def merge(connection: apsw.Connection, upto: int) -> None:
    """Do what a compaction does: drop what a later event up to a position replaced."""
    connection.execute(
        "delete from events where exists (select 1 from events later where later.node = events.node"
        " and later.position > events.position and later.position <= ?)",
        (upto,),
    )
