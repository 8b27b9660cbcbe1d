"""A rebuild that begins with a snapshot ends with the tables of a whole replay, to the last row."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.errors import LogError
from eventlog.events import Created, Modified, Moved, Record, Removed
from projections.frames import SnapshotError
from projections.from_snapshot import filling
from projections.replay import compare, rebuild, table_rows
from tests import strategies
from tests.eventlog.helpers import file_state, root_state
from tests.projections.memory import store
from tests.projections.snapshots import log_of, merge, snapshot_of

RECORDS = [
    Record(1, 1, 0, Created("", root_state())),
    *(Record(n, n, 0, Created("", file_state(b"f%d" % n, ino=n))) for n in range(2, 9)),
]


PERCENT = st.integers(0, 100)


@given(strategies.mixed_histories(longest=60), PERCENT, PERCENT, PERCENT)
def test_it_is_equal_to_a_replay_whatever_was_compacted(
    records: list[Record], taken_percent: int, before_percent: int, after_percent: int
) -> None:
    taken = len(records) * taken_percent // 100
    connection = log_of(records[:taken])
    merge(connection, taken * before_percent // 100)
    with TemporaryDirectory() as folder, snapshot_of(connection, Path(folder, "a")) as file:
        store(connection, records[taken:])
        merge(connection, len(records) * after_percent // 100)
        expected = table_rows(connection)
        assert compare(connection, fill=filling(file)).different == 0
        connection.execute("delete from nodes")
        rebuild(connection, fill=filling(file))
        assert table_rows(connection) == expected
        assert compare(connection).different == 0


def test_a_move_that_was_compacted_away_after_the_snapshot_is_not_forgotten(tmp_path: Path) -> None:
    """What is left of it is a change in place: folded over the snapshot, it would not move."""
    connection = log_of(RECORDS)
    with snapshot_of(connection, tmp_path / "a") as file:
        moved = file_state(b"new", parent=1, ino=3)
        store(connection, [Record(9, 3, 0, Moved("", moved, 1, b"f3"))])
        store(connection, [Record(10, 3, 0, Modified("", moved))])
        merge(connection, 10)
        rebuild(connection, fill=filling(file))
        assert compare(connection).differences == []


def test_one_that_was_taken_in_the_middle_of_a_squash_brings_no_tombstone_back(
    tmp_path: Path,
) -> None:
    """As of 10, above the floor-to-be, 9; then the rest of the states, the floor, the drop."""
    connection = log_of(RECORDS)
    store(connection, [Record(9, 3, 0, Removed("", "deleted", 1, b"f3", 0o100644))])
    states = [event.state for event in (r.event for r in RECORDS) if isinstance(event, Created)]
    store(connection, [Record(10, 1, 0, Modified("", states[0]))])
    with snapshot_of(connection, tmp_path / "a") as file:
        for position, number in enumerate((2, 4, 5, 6, 7, 8), 11):
            again = Modified("", states[number - 1])
            store(connection, [Record(position, number, 0, again)])
        connection.execute("update meta set value = '9' where key = 'floor'")
        connection.execute("delete from events where position <= 9")
        connection.execute("delete from nodes where position <= 9")
        before = table_rows(connection)
        rebuild(connection, fill=filling(file))
        assert table_rows(connection) == before


def test_it_folds_only_what_came_after(tmp_path: Path) -> None:
    connection = log_of(RECORDS[:6])
    connection.execute("update events set time_us = 1 where position = 1")
    with snapshot_of(connection, tmp_path / "a") as file:
        store(connection, RECORDS[6:])
        assert rebuild(connection, fill=filling(file)) == 8


def test_a_snapshot_of_another_log_is_refused(tmp_path: Path) -> None:
    connection = log_of(RECORDS)
    with snapshot_of(connection, tmp_path / "a") as file:
        connection.execute(
            "update meta set value = '11111111-89ab-8def-8123-' where key = 'id_prefix'"
        )
        before = table_rows(connection)
        with pytest.raises(SnapshotError, match="a snapshot of another log"):
            rebuild(connection, fill=filling(file))
    assert table_rows(connection) == before


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("delete from events where position = 3", "the log does not have the event at position 3"),
        ("update sqlite_sequence set seq = 7", "a snapshot of another log"),
        ("insert into meta values ('gaps', '5-100')", "a snapshot of another log"),
        (
            "update events set record = x'90' where position = 5",
            "position 5: record cannot be decoded",
        ),
    ],
)
def test_a_snapshot_that_does_not_fit_the_log_is_refused(
    tmp_path: Path, statement: str, problem: str
) -> None:
    connection = log_of(RECORDS)
    with snapshot_of(connection, tmp_path / "a") as file:
        connection.execute(statement)
        before = table_rows(connection)
        with pytest.raises(LogError, match=problem):
            rebuild(connection, fill=filling(file))
        assert table_rows(connection) == before
        assert connection.getautocommit()
