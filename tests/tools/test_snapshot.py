import json
from pathlib import Path

import pytest

from eventlog.log import Log
from projections.replay import FOLDS
from projections.snapshot_file import SnapshotFile
from tests.eventlog.helpers import files
from tests.tools import sample
from tools import cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    sample.write(path)
    return path


def snapshot(database: Path, *words: str) -> int:
    return cli.main(["snapshot", "--db", str(database), *words])


def taken(database: Path) -> list[Path]:
    return sorted(Path(f"{database}.snapshots").iterdir())


def append(database: Path) -> None:
    log = Log(str(database), FOLDS)
    log.append(files(1, f"{log.head}"))
    log.close()


def test_a_snapshot_is_written_beside_the_database(database: Path, capsys: Capture) -> None:
    assert snapshot(database) == 0
    (path,) = taken(database)
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: 2 nodes as of position 10, ")
    with SnapshotFile(path) as file:
        file.verify()


def test_nothing_new_is_written_while_nothing_happens(database: Path, capsys: Capture) -> None:
    snapshot(database)
    capsys.readouterr()
    assert snapshot(database) == 0
    assert "nothing was appended since" in capsys.readouterr().out
    assert len(taken(database)) == 1


def test_they_are_listed_newest_first(database: Path, capsys: Capture) -> None:
    snapshot(database)
    append(database)
    snapshot(database, "--json")
    assert json.loads(capsys.readouterr().out.splitlines()[1])["new"] is True
    assert snapshot(database, "--list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" as of position 11," in line for line in lines] == [True, False]
    assert snapshot(database, "--list", "--json") == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["position"] for one in found] == [11, 10]
    assert [one["usable"] for one in found] == [True, True]
    assert [one["nodes"] for one in found] == [3, 2]


def test_a_damaged_one_is_listed_as_such(database: Path, capsys: Capture) -> None:
    snapshot(database)
    (path,) = taken(database)
    path.write_bytes(path.read_bytes()[:-20])
    capsys.readouterr()
    assert snapshot(database, "--list") == 1
    assert "cannot be used: " in capsys.readouterr().out
    assert snapshot(database, "--list", "--json") == 1
    assert json.loads(capsys.readouterr().out)["usable"] is False


def test_what_is_damaged_within_is_found_by_reading_it(database: Path, capsys: Capture) -> None:
    snapshot(database)
    (path,) = taken(database)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert snapshot(database, "--list") == 0
    capsys.readouterr()
    assert snapshot(database, "--list", "--verify") == 1
    assert "cannot be used: " in capsys.readouterr().out
    assert snapshot(database, "--verify") == 1
    assert "--verify goes with --list" in capsys.readouterr().err


def test_the_configuration_says_where_and_how_many(tmp_path: Path, database: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text(
        f"database_url: {database}\nsnapshots:\n  directory: {tmp_path}/kept\n  keep: 2\n"
    )
    for _ in range(4):
        append(database)
        assert cli.main(["snapshot", "--config", str(file)]) == 0
    assert len(list((tmp_path / "kept").iterdir())) == 2
    assert not Path(f"{database}.snapshots").exists()


def test_without_a_database_there_is_no_snapshot(tmp_path: Path, capsys: Capture) -> None:
    assert snapshot(tmp_path / "none.db") == 1
    assert "no nasfeed database here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
