"""Makes a new database, and brings the projections' tables to the version of the program."""

import secrets
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources

import apsw

from eventlog import codec
from eventlog.connection import APPLICATION_ID, FORMAT, check_format, fetch, is_empty
from eventlog.events import Record
from eventlog.fold import Fold
from eventlog.identifiers import new_prefix

REPLAY_BATCH = 5_000


def ensure(connection: apsw.Connection, path: str, folds: Sequence[Fold]) -> None:
    """Make the tables that are missing and rebuild the projections whose version changed.

    Args:
        connection: the writer's.
        path: the database file, for errors.
        folds: all projections of the program.

    Raises:
        LogFormatError: the file is something else, or newer than the program.
    """
    with connection:
        if is_empty(connection):
            _create(connection)
        check_format(connection, path)
        stored = dict(fetch(connection, "select name, version from projections"))
        _forget(connection, stored.keys() - {fold.name for fold in folds})
        outdated = [fold for fold in folds if stored.get(fold.name) != fold.version]
        rebuild(connection, outdated)


def rebuild(connection: apsw.Connection, folds: Sequence[Fold]) -> int:
    """Drop the tables of projections and fold the whole log anew, in the caller's transaction.

    Returns:
        How many events were folded.
    """
    if not folds:
        return 0
    for fold in folds:
        recreate(connection, fold)
    return fold_all(connection, connection, folds)


def fold_all(
    source: apsw.Connection, target: apsw.Connection, folds: Iterable[Fold], after: int = 0
) -> int:
    """Fold the events of one database into the tables of another (or the same).

    Returns:
        How many events were folded.
    """
    folded = 0
    for batch in batches(source, after):
        folded += len(batch)
        for fold in folds:
            fold.apply(target, batch)
    return folded


def batches(connection: apsw.Connection, after: int) -> Iterator[list[Record]]:
    """Read the log in order, in batches, each by a query of its own."""
    query = (
        "select position, node, time_us, record from events"
        " where position > ? order by position limit ?"
    )
    while True:
        rows = fetch(connection, query, (after, REPLAY_BATCH))
        if not rows:
            return
        after = rows[-1][0]
        yield [Record(p, node, time_us, codec.decode_any(raw, p)) for p, node, time_us, raw in rows]


def create_tables(connection: apsw.Connection, folds: Iterable[Fold]) -> None:
    """Make the empty tables of projections."""
    for fold in folds:
        run(connection, fold.schema)


def run(connection: apsw.Connection, script: str) -> None:
    """Run every statement of a script (without fetchall, APSW stops at the first row)."""
    connection.execute(script).fetchall()


def _create(connection: apsw.Connection) -> None:
    run(connection, resources.files("eventlog").joinpath("schema.sql").read_text())
    connection.executemany(
        "insert into meta (key, value) values (?, ?)",
        [("log_id", secrets.token_hex(16)), ("id_prefix", new_prefix()), ("floor", "0")],
    )
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", FORMAT)


def _forget(connection: apsw.Connection, names: Iterable[str]) -> None:
    """Have projections that nobody keeps up to date now rebuilt by a program that knows them."""
    for name in names:
        connection.execute("delete from projections where name = ?", (name,))


def recreate(connection: apsw.Connection, fold: Fold) -> None:
    """Drop the tables of a projection and make them anew, empty, in the caller's transaction."""
    for table in fold.tables:
        # A table name cannot be bound; it comes from the program, never from outside.
        run(connection, f'drop table if exists "{table}"')
    run(connection, fold.schema)
    connection.execute(
        "insert or replace into projections (name, version) values (?, ?)",
        (fold.name, fold.version),
    )
