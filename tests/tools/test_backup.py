import json
from pathlib import Path

import pytest

from tests.small_disk import fill, mounted
from tests.tools import sample
from tools import cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    sample.write(path)
    return path


def backup(target: Path, database: Path, *words: str) -> int:
    return cli.main(["backup", str(target), "--db", str(database), *words])


def test_a_backup_is_one_file(database: Path, tmp_path: Path, capsys: Capture) -> None:
    assert backup(tmp_path / "b", database) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/b: 10 events up to position 10, ")
    assert (tmp_path / "b").stat().st_mode & 0o777 == 0o600
    assert cli.main(["check", "--db", str(tmp_path / "b"), "--no-disk"]) == 0


def test_programs_get_json(database: Path, tmp_path: Path, capsys: Capture) -> None:
    assert backup(tmp_path / "b", database, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["head"], found["events"]) == (f"{tmp_path}/b", 10, 10)


def test_a_file_that_is_there_is_not_lost_by_mistake(
    database: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "b").write_bytes(b"dear")
    assert backup(tmp_path / "b", database) == 1
    assert "there is a file already; give another name, or --force" in capsys.readouterr().err
    assert (tmp_path / "b").read_bytes() == b"dear"
    assert backup(tmp_path / "b", database, "--force") == 0
    assert (tmp_path / "b").read_bytes() != b"dear"


def test_what_cannot_be_is_refused_in_one_line(
    database: Path, tmp_path: Path, capsys: Capture
) -> None:
    for target, of, problem in [
        (tmp_path, database, "this is a directory; give the file to write in it"),
        (database, database, "this is the database itself; give another file"),
        (tmp_path / "none" / "b", database, "No such file or directory"),
        (tmp_path / "b", tmp_path / "none.db", "no nasfeed database here"),
    ]:
        assert backup(target, of, "--force") == 1
        err = capsys.readouterr().err
        assert problem in err
        assert err.count("\n") == 1


@pytest.mark.privileged
def test_a_full_disk_is_named_by_the_copy_that_lies_there(
    database: Path, tmp_path: Path, capsys: Capture
) -> None:
    """The disk of the log is not the one to free space on."""
    with mounted(tmp_path / "small", 1) as small:
        fill(small / "others")
        assert backup(small / "b", database) == 1
        assert [path.name for path in small.iterdir()] == ["others"]
    err = capsys.readouterr().err
    assert f"{tmp_path}/small/.b.part: the disk is full; free some space" in err
    assert str(database) not in err
