"""A database in memory that holds some records and their folds."""

from collections.abc import Sequence
from importlib import resources

import apsw

from eventlog import codec
from eventlog.events import Record
from eventlog.schema import create_tables, run
from projections.replay import FOLDS


def empty() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    run(connection, resources.files("eventlog").joinpath("schema.sql").read_text())
    create_tables(connection, FOLDS)
    return connection


def store(connection: apsw.Connection, records: Sequence[Record]) -> None:
    """Append records and fold them, as one batch."""
    connection.executemany(
        "insert into events (position, node, time_us, record) values (?, ?, ?, ?)",
        [(r.position, r.node, r.time_us, codec.encode(r.event)) for r in records],
    )
    for fold in FOLDS:
        fold.apply(connection, records)


def holding(records: Sequence[Record]) -> apsw.Connection:
    connection = empty()
    store(connection, records)
    return connection
