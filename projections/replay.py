"""Rebuilds the projections from the log, and proves that what is stored equals the rebuilt."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

import apsw

from eventlog import schema
from eventlog.connection import fetch
from eventlog.fold import Fold
from projections.fold_tree import TreeFold

FOLDS: tuple[Fold, ...] = (TreeFold(),)
"""All projections of the program."""

DIFFERENCES_MAX = 20
"""More are counted but not kept: one is enough to say that something is wrong."""


class Difference(NamedTuple):
    """A row of a projection that is not what the log says.

    Attributes:
        table: which table.
        stored: the stored row, or None when it is missing.
        replayed: the row that the log gives, or None when there is none.
    """

    table: str
    stored: tuple[object, ...] | None
    replayed: tuple[object, ...] | None


class Comparison(NamedTuple):
    """What a check found.

    Attributes:
        events: how many events were folded.
        rows: how many rows were compared.
        differences: the first of them.
        different: how many rows differ.
    """

    events: int
    rows: int
    differences: list[Difference]
    different: int


def rebuild(connection: apsw.Connection, folds: Sequence[Fold] = FOLDS) -> int:
    """Rebuild every projection in one transaction; safe beside a running server.

    Args:
        connection: one that may write.
        folds: the projections.

    Returns:
        How many events were folded.
    """
    connection.execute("begin immediate")
    try:
        folded = schema.rebuild(connection, folds)
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return folded


def compare(connection: apsw.Connection, folds: Sequence[Fold] = FOLDS) -> Comparison:
    """Fold the log into a temporary database and compare every row with what is stored.

    Args:
        connection: a reader's; one read transaction is held, so that a server may go on.
        folds: the projections.

    Returns:
        The result; `different` is 0 when all is well.
    """
    replayed = apsw.Connection("")
    differences: list[Difference] = []
    rows = different = 0
    with connection, replayed:
        schema.create_tables(replayed, folds)
        events = schema.fold_all(connection, replayed, folds)
        for table in (table for fold in folds for table in fold.tables):
            for stored, expected in zip_longest(_rows(connection, table), _rows(replayed, table)):
                rows += 1
                if stored != expected:
                    different += 1
                    differences.append(Difference(table, stored, expected))
                    del differences[DIFFERENCES_MAX:]
    replayed.close()
    return Comparison(events, rows, differences, different)


def table_rows(
    connection: apsw.Connection, folds: Sequence[Fold] = FOLDS
) -> dict[str, list[object]]:
    """Return all rows of all projections, for tests that compare whole databases."""
    return {table: list(_rows(connection, table)) for fold in folds for table in fold.tables}


def _rows(connection: apsw.Connection, table: str) -> Iterator[tuple[object, ...]]:
    columns = [row[1] for row in fetch(connection, "select * from pragma_table_info(?)", (table,))]
    # Names of the program's own tables and columns; the first column is the primary key.
    query = f'select {", ".join(columns)} from "{table}" order by {columns[0]}'  # noqa: S608
    yield from connection.execute(query)
