import json
from pathlib import Path

import apsw
import pytest

from eventlog.connection import open_writer
from eventlog.log import Log
from projections.replay import FOLDS, table_rows
from tests.eventlog.helpers import files
from tests.tools import sample
from tools import cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    sample.write(path)
    return path


def damage(database: Path, statement: str) -> None:
    connection = open_writer(str(database))
    connection.execute(statement)
    connection.close()


def rows(database: Path) -> dict[str, list[object]]:
    connection = apsw.Connection(str(database))
    found = table_rows(connection)
    connection.close()
    return found


def test_what_is_right_is_proved_right(database: Path, capsys: Capture) -> None:
    assert cli.main(["replay", "--db", str(database), "--check"]) == 0
    assert capsys.readouterr().out == "10 events give exactly the 4 rows that are stored\n"


@pytest.mark.parametrize(
    "statement",
    [
        "update nodes set name = x'00' where number = 1",
        "delete from nodes where number = 7",
        "insert into nodes (number, position) values (99, 99)",
    ],
)
def test_what_is_wrong_is_found_and_mended(database: Path, capsys: Capture, statement: str) -> None:
    right = rows(database)
    damage(database, statement)
    assert cli.main(["replay", "--db", str(database), "--check"]) == 1
    out = capsys.readouterr().out
    assert "table nodes: stored" in out
    assert "run nasfeed replay to mend this" in out
    assert cli.main(["replay", "--db", str(database)]) == 0
    assert capsys.readouterr().out.startswith("10 events replayed in ")
    assert rows(database) == right


def test_programs_get_json(database: Path, capsys: Capture) -> None:
    cli.main(["replay", "--db", str(database), "--check", "--json"])
    assert json.loads(capsys.readouterr().out) == {
        "events": 10,
        "rows": 4,
        "different": 0,
        "differences": [],
    }
    cli.main(["replay", "--db", str(database), "--json"])
    assert json.loads(capsys.readouterr().out)["events"] == 10


def test_no_database_is_made_where_there_is_none(tmp_path: Path, capsys: Capture) -> None:
    for words in ([], ["--check"]):
        assert cli.main(["replay", "--db", f"{tmp_path}/none.db", *words]) == 1
        assert "no nasfeed database here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_left_alone(tmp_path: Path, capsys: Capture) -> None:
    other = tmp_path / "other.db"
    connection = apsw.Connection(str(other))
    connection.execute("create table t (x)")
    connection.close()
    before = other.read_bytes()
    assert cli.main(["replay", "--db", str(other)]) == 1
    assert "this is no nasfeed database" in capsys.readouterr().err
    assert other.read_bytes() == before


def snapshot_and_append(database: Path) -> Path:
    """Take a snapshot, append something, and return the snapshot's path."""
    assert cli.main(["snapshot", "--db", str(database)]) == 0
    found = max(Path(f"{database}.snapshots").iterdir(), key=lambda path: path.name)
    log = Log(str(database), FOLDS)
    log.append(files(3, "later"))
    log.close()
    return found


@pytest.mark.parametrize("given", ["the newest", "a file"])
def test_a_replay_can_begin_with_a_snapshot(database: Path, capsys: Capture, given: str) -> None:
    path = snapshot_and_append(database)
    words = ["replay", "--db", str(database), "--from-snapshot"]
    words += [str(path)] if given == "a file" else []
    right = rows(database)
    assert cli.main([*words, "--check"]) == 0
    damage(database, "delete from nodes where number <> 7")
    assert cli.main([*words, "--check"]) == 1
    capsys.readouterr()
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 4 + 3
    assert rows(database) == right
    assert cli.main(["replay", "--db", str(database), "--check"]) == 0


def test_a_damaged_snapshot_is_passed_over_and_told(database: Path, capsys: Capture) -> None:
    snapshot_and_append(database)
    newest = snapshot_and_append(database)
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    capsys.readouterr()
    assert cli.main(["replay", "--db", str(database), "--from-snapshot", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["events"] == 4 + 6
    assert captured.err.startswith(f"nasfeed: passed over: {newest}: damaged")
    assert cli.main(["replay", "--db", str(database), "--from-snapshot", str(newest)]) == 1


def test_without_a_snapshot_it_says_what_to_do(database: Path, capsys: Capture) -> None:
    assert cli.main(["replay", "--db", str(database), "--from-snapshot"]) == 1
    assert "no snapshot here can be used; replay the log without" in capsys.readouterr().err
    assert cli.main(["replay", "--db", str(database), "--from-snapshot", str(database.parent)]) == 1
    assert "name directories before --from-snapshot" in capsys.readouterr().err
