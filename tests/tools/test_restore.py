import json
import sys
from pathlib import Path

import pytest

from eventlog.log import Log
from projections.replay import FOLDS
from tests.eventlog.helpers import assert_sound, files
from tests.serving import Server, serving, wait_until
from tests.tools import sample
from tools import cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    sample.write(path)
    return path


@pytest.fixture
def saved(database: Path, tmp_path: Path) -> Path:
    cli.main(["backup", str(tmp_path / "b"), "--db", str(database)])
    return tmp_path / "b"


def restore(file: Path, database: Path, *words: str) -> int:
    return cli.main(["restore", str(file), "--db", str(database), *words])


def append(database: Path) -> str:
    """Append something and return the log's id."""
    log = Log(str(database), FOLDS)
    log.append(files(1, "late"))
    log.close()
    return log.log_id


def test_a_backup_comes_back(saved: Path, database: Path, capsys: Capture) -> None:
    before = append(database)
    capsys.readouterr()
    assert restore(saved, database, "--yes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{database}: 12 events; the log is now ")
    assert "the old database is kept as " in lines[1]
    assert_sound(database)
    log = Log(str(database), FOLDS)
    assert log.log_id != before
    assert log.head > 2**32
    log.close()


def test_a_snapshot_comes_back(database: Path, capsys: Capture) -> None:
    cli.main(["snapshot", "--db", str(database)])
    (file,) = Path(f"{database}.snapshots").iterdir()
    append(database)
    capsys.readouterr()
    assert restore(file, database, "--yes", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["database"], found["events"]) == (str(database), 6)
    assert Path(found["kept"]).is_file()
    assert_sound(database)


class Terminal:
    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.answer


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("", 1)])
def test_the_operator_is_asked(
    saved: Path, database: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    before = database.read_bytes()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert restore(saved, database) == status
    assert (database.read_bytes() == before) == bool(status)


def test_where_nobody_can_be_asked_nothing_is_done(
    saved: Path, database: Path, capsys: Capture
) -> None:
    before = database.read_bytes()
    assert restore(saved, database) == 1
    err = capsys.readouterr().err
    assert f"Replace {database} by the backup {saved}, which ends at position 10 of 2026-" in err
    assert "say --yes to do it" in err
    assert database.read_bytes() == before


def test_a_running_server_is_refused_in_one_line(
    saved: Path, database: Path, capsys: Capture
) -> None:
    log = Log(str(database), FOLDS)
    assert restore(saved, database, "--yes") == 1
    log.close()
    assert "another nasfeed is using this database; stop it" in capsys.readouterr().err


def test_what_is_no_backup_is_refused_in_one_line(
    database: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "x").write_bytes(b"nothing of the kind" * 100)
    assert restore(tmp_path / "x", database, "--yes") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert restore(tmp_path / "none", database, "--yes") == 1
    assert "No such file" in capsys.readouterr().err


def fold(server: Server, cursor: int, names: set[str]) -> int:
    """Fold the feed as a client does that names no log and looks at no status."""
    while True:
        _, page = server.get(f"/api/v1/changes?cursor={cursor}")
        if page.get("reset"):
            names.clear()
        for change in page["changes"]:
            if not change["removed"]:
                names.add(change["node"]["name"])
        cursor = page["cursor"]
        if not page["has_more"]:
            return cursor


def test_a_server_goes_on_after_a_restore_and_finds_what_changed_meanwhile(
    tmp_path: Path, capsys: Capture
) -> None:
    media, database = tmp_path / "media", tmp_path / "state" / "log.db"
    media.mkdir()
    (media / "a").write_text("a")
    names: set[str] = set()
    with serving({"media": media}, database) as server:
        assert cli.main(["backup", str(tmp_path / "b"), "--db", str(database)]) == 0
        (media / "b").write_text("b")
        wait_until(lambda: "b" in server.names())
        cursor = fold(server, 0, names)
        assert restore(tmp_path / "b", database, "--yes") == 1
        assert "another nasfeed is using this database" in capsys.readouterr().err
        server.stop()
        assert restore(tmp_path / "b", database, "--yes") == 0
        (media / "c").write_text("c")
        server.start()
        wait_until(lambda: server.names() == {"media", "a", "b", "c"})
        assert server.get(f"/api/v1/changes?cursor={cursor}")[0] == 410
        fold(server, cursor, names)
        assert names == {"media", "a", "b", "c"}
        assert cli.main(["check", "--db", str(database)]) == 0
        server.stop()
