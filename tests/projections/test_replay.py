"""Replay: what is stored is proved to be what the log says, or told where it is not."""

from pathlib import Path

import apsw
import pytest

from eventlog.connection import open_reader, open_writer
from eventlog.events import Created, Record
from eventlog.log import Log
from projections.fold_tree import TreeFold
from projections.replay import DIFFERENCES_MAX, FOLDS, Comparison, compare, rebuild, table_rows
from tests.eventlog.helpers import assert_sound, created, file_state, files, root_state
from tests.projections.memory import holding

ROW = (7, 7, 1, b"f7", 7, 7, 1)


@pytest.fixture
def connection() -> apsw.Connection:
    records = [Record(1, 1, 0, Created("", root_state()))]
    records += [Record(n, n, 0, Created("", file_state(b"f%d" % n, ino=n))) for n in range(2, 40)]
    return holding(records)


def test_what_is_stored_is_what_the_log_says(connection: apsw.Connection) -> None:
    assert compare(connection) == Comparison(events=39, rows=39, differences=[], different=0)


@pytest.mark.parametrize(
    ("damage", "stored", "replayed"),
    [
        ("delete from nodes where number = 7", None, ROW),
        ("update nodes set name = x'78' where number = 7", (7, 7, 1, b"x", 7, 7, 1), ROW),
        ("insert into nodes values (50, 50, 1, x'78', 1, 1, 1)", (50, 50, 1, b"x", 1, 1, 1), None),
        ("insert into nodes values (0, 50, 1, x'78', 1, 1, 1)", (0, 50, 1, b"x", 1, 1, 1), None),
    ],
)
def test_one_wrong_row_is_one_difference(
    connection: apsw.Connection, damage: str, stored: object, replayed: object
) -> None:
    connection.execute(damage)
    found = compare(connection)
    assert (found.different, found.differences) == (1, [("nodes", stored, replayed)])


def test_many_wrong_rows_are_counted_and_the_first_are_kept(connection: apsw.Connection) -> None:
    connection.execute("update nodes set ino = ino + 1")
    found = compare(connection)
    assert (found.different, len(found.differences)) == (39, DIFFERENCES_MAX)


def test_a_rebuild_mends_every_difference(connection: apsw.Connection) -> None:
    before = table_rows(connection)
    connection.execute("delete from nodes where number % 2")
    rebuild(connection)
    assert table_rows(connection) == before


def test_a_rebuild_that_fails_changes_nothing(connection: apsw.Connection) -> None:
    connection.execute("update events set record = x'00' where position = 30")
    connection.execute("delete from nodes where number = 7")
    before = table_rows(connection)
    with pytest.raises(Exception, match="position 30: record cannot be decoded"):
        rebuild(connection)
    assert table_rows(connection) == before
    assert connection.getautocommit()


def test_a_rebuild_beside_a_running_writer_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = Log(str(path), FOLDS)
    log.append([created(root_state())])
    other = open_writer(str(path))
    futures = []
    for _ in range(20):
        futures.append(log.submit(lambda transaction: transaction.append(files(20))))
        rebuild(other)
    other.close()
    assert [future.result() for future in futures] == list(range(2, 402, 20))
    log.close()
    assert_sound(path)


class NewerTree(TreeFold):
    version = TreeFold.version + 1


def test_a_projection_of_another_version_is_rebuilt_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = Log(str(path), FOLDS)
    log.append([created(root_state()), *files(5)])
    log.close()
    damaged = open_writer(str(path))
    damaged.execute("delete from nodes where number = 3")
    damaged.close()
    Log(str(path), [NewerTree()]).close()
    assert_sound(path)


def test_a_projection_that_another_program_did_not_keep_is_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = Log(str(path), FOLDS)
    log.append([created(root_state())])
    log.close()
    older = Log(str(path), ())
    older.append(files(5))
    older.close()
    reader = open_reader(str(path))
    assert compare(reader).different == 5
    reader.close()
    Log(str(path), FOLDS).close()
    assert_sound(path)
