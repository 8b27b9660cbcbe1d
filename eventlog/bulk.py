"""Inserts many rows with few calls of SQLite.

Each call gives the interpreter's lock away and has to get it back. One statement of many rows does
that once, so that the writer and an observer who lists directories really run side by side.
"""

from collections.abc import Sequence
from itertools import chain

import apsw

ROWS = (400, 20)
"""Rows in one statement; more make no difference. The second is for small batches, and the rest."""

Row = tuple[object, ...]


class BulkInsert:
    """An insert into some columns of a table.

    Args:
        table: which.
        columns: in the order of the rows' values.
        conflict: what to do when the row is there, as SQL (`on conflict …`); by default it fails.
    """

    def __init__(self, table: str, columns: Sequence[str], conflict: str = "") -> None:
        row = f"({', '.join('?' * len(columns))})"
        head = f"insert into {table} ({', '.join(columns)}) values "  # noqa: S608 - our own names
        self._one = f"{head}{row} {conflict}"
        self._many = [(n, f"{head}{', '.join([row] * n)} {conflict}") for n in ROWS]

    def run(self, connection: apsw.Connection, rows: Sequence[Row]) -> None:
        """Insert rows, in their order."""
        done = 0
        for count, statement in self._many:
            while len(rows) - done >= count:
                values = chain.from_iterable(rows[done : done + count])
                connection.execute(statement, tuple(values))
                done += count
        if done < len(rows):
            connection.executemany(self._one, rows[done:])
