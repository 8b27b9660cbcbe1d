"""Many rows in few statements are the same rows."""

import apsw
import pytest

from eventlog.bulk import ROWS, BulkInsert

MANY, FEW = ROWS


@pytest.fixture
def connection() -> apsw.Connection:
    made = apsw.Connection(":memory:")
    made.execute("create table t (k integer primary key, v)")
    return made


@pytest.mark.parametrize(
    "count", [0, 1, FEW - 1, FEW, MANY - 1, MANY, MANY + 1, 3 * MANY + 2 * FEW + 7]
)
def test_every_row_is_inserted_once(connection: apsw.Connection, count: int) -> None:
    rows = [(key, f"v{key}") for key in range(count)]
    BulkInsert("t", ("k", "v")).run(connection, rows)
    assert connection.execute("select k, v from t order by k").fetchall() == rows


def test_of_rows_for_one_key_the_last_wins(connection: apsw.Connection) -> None:
    insert = BulkInsert("t", ("k", "v"), "on conflict (k) do update set v = excluded.v")
    insert.run(connection, [(number % 3, number) for number in range(MANY + FEW + 5)])
    assert connection.execute("select k, v from t order by k").fetchall() == [
        (key, max(number for number in range(MANY + FEW + 5) if number % 3 == key))
        for key in range(3)
    ]


def test_a_row_that_is_there_already_is_an_error(connection: apsw.Connection) -> None:
    insert = BulkInsert("t", ("k", "v"))
    insert.run(connection, [(1, "first")])
    with pytest.raises(apsw.ConstraintError):
        insert.run(connection, [(key, "again") for key in range(MANY)])
