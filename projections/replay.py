"""Rebuilds the projections from the log, and proves that what is stored equals the rebuilt."""

import contextlib
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import apsw

from eventlog import schema
from eventlog.connection import fetch
from eventlog.fold import Fold
from projections.fold_entities import EntitiesFold
from projections.fold_media import MediaFold
from projections.fold_tree import TreeFold

FOLDS: tuple[Fold, ...] = (TreeFold(), EntitiesFold())
"""The projections that every log has."""

LIBRARY_FOLDS: tuple[Fold, ...] = (*FOLDS, MediaFold())
"""Those that a log has whose server has a media library."""

STORED = "select name from projections"

DIFFERENCES_MAX = 20
"""More are counted but not kept: one is enough to say that something is wrong."""

Row = tuple[Any, ...]

Fill = Callable[[apsw.Connection, apsw.Connection, Sequence[Fold]], int]
"""Fills the empty tables of the second database from the log in the first, which may be the same,
and returns how many events it folded."""


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


def stored_folds(connection: apsw.Connection) -> tuple[Fold, ...]:
    """Return the projections that a log has: all that are kept up to date in it.

    Args:
        connection: any.
    """
    names = {row[0] for row in fetch(connection, STORED)}
    return LIBRARY_FOLDS if MediaFold.name in names else FOLDS


def rebuild(
    connection: apsw.Connection,
    folds: Sequence[Fold] | None = None,
    fill: Fill = schema.fold_all,
) -> int:
    """Rebuild every projection in one transaction; safe beside a running server.

    Args:
        connection: one that may write.
        folds: the projections; those of the log when none are given.
        fill: how: by the whole log, or beginning with a snapshot.

    Returns:
        How many events were folded.
    """
    folds = stored_folds(connection) if folds is None else folds
    connection.execute("begin immediate")
    try:
        for fold in folds:
            schema.recreate(connection, fold)
        folded = fill(connection, connection, folds)
    except BaseException:
        connection.execute("rollback")
        raise
    connection.execute("commit")
    return folded


def compare(
    connection: apsw.Connection,
    folds: Sequence[Fold] | None = None,
    fill: Fill = schema.fold_all,
) -> Comparison:
    """Fold the log into a temporary database and compare every row with what is stored.

    Args:
        connection: a reader's; one read transaction is held, so that a server may go on.
        folds: the projections; those of the log when none are given.
        fill: how: by the whole log, or beginning with a snapshot.

    Returns:
        The result; `different` is 0 when all is well.
    """
    differences: list[Difference] = []
    rows = different = 0
    folds = stored_folds(connection) if folds is None else folds
    with contextlib.closing(apsw.Connection("")) as replayed, connection, replayed:
        schema.create_tables(replayed, folds)
        events = fill(connection, replayed, folds)
        for table in (table for fold in folds for table in fold.tables):
            for stored, expected in _paired(_rows(connection, table), _rows(replayed, table)):
                rows += 1
                if stored != expected:
                    different += 1
                    differences.append(Difference(table, stored, expected))
                    del differences[DIFFERENCES_MAX:]
    return Comparison(events, rows, differences, different)


def table_rows(
    connection: apsw.Connection, folds: Sequence[Fold] = FOLDS
) -> dict[str, list[object]]:
    """Return all rows of all projections, for tests that compare whole databases."""
    return {table: list(_rows(connection, table)) for fold in folds for table in fold.tables}


def _paired(stored: Iterable[Row], replayed: Iterable[Row]) -> Iterator[tuple[Row | None, ...]]:
    """Pair the rows of two tables by primary key, so that a missing row is one difference."""
    merged = heapq.merge(
        ((row[0], 0, row) for row in stored),
        ((row[0], 1, row) for row in replayed),
        key=itemgetter(0, 1),
    )
    for _, group in groupby(merged, key=itemgetter(0)):
        pair = {side: row for _, side, row in group}
        yield pair.get(0), pair.get(1)


def _rows(connection: apsw.Connection, table: str) -> Iterator[Row]:
    """Yield the rows of a table; none where an older program did not know it."""
    columns = [row[1] for row in fetch(connection, "select * from pragma_table_info(?)", (table,))]
    if not columns:
        return
    # Names of the program's own tables and columns; the first column is the primary key.
    query = f'select {", ".join(columns)} from "{table}" order by {columns[0]}'  # noqa: S608
    yield from connection.execute(query)
