import json
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import history
from eventlog.clock import SystemClock
from eventlog.connection import open_reader
from eventlog.log import Log
from projections.replay import FOLDS
from tests.eventlog.helpers import assert_sound
from tests.serving import running, wait_until
from tests.tools.commanded import commanded
from tests.tools.sample import write
from tools import cli
from tools.maintenance import Maintenance

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    write(path)
    return path


def stored(database: Path) -> list[tuple[int, int]]:
    with closing(open_reader(str(database))) as reader:
        return [(r.position, r.node) for r in history.read(reader, 0, history.head(reader))]


def test_without_a_server_it_is_done_here(database: Path, capsys: Capture) -> None:
    assert cli.main(["squash", "--db", str(database), "--yes", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["floor"], result["nodes"], result["dropped"]) == (10, 2, 10)
    assert stored(database) == [(11, 1), (12, 7)]
    assert_sound(database)


def test_the_server_does_it_and_its_floor_rises_at_once(database: Path, capsys: Capture) -> None:
    log = Log(str(database), FOLDS)
    maintenance = Maintenance(log, SystemClock(), 30, None)
    with commanded(database, maintenance.commands()):
        assert cli.main(["squash", "--db", str(database), "--yes"]) == 0
    assert log.floor == 10
    log.close()
    out, _ = capsys.readouterr()
    assert out.startswith("2 nodes kept, 10 events dropped; cursors below 10 are refused; ")
    assert stored(database) == [(11, 1), (12, 7)]


def test_nothing_is_done_when_nobody_can_be_asked(
    database: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = database.read_bytes()
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert cli.main(["squash", "--db", str(database)]) == 1
    error = capsys.readouterr().err
    assert f"Forget 2 removals and all history of 2 nodes in {database}?" in error
    assert "say --yes to do it" in error
    assert database.read_bytes() == before


def test_a_missing_log_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["squash", "--db", f"{tmp_path}/none.db", "--yes"]) == 1
    assert "no nasfeed database here" in capsys.readouterr().err


def test_clients_of_a_real_server_are_told(tmp_path: Path, capsys: Capture) -> None:
    root, database = tmp_path / "root", tmp_path / "state" / "log.db"
    root.mkdir()
    (root / "file").write_text("one")
    with running(str(root), "--db", str(database), "--port", "0") as server:
        wait_until(lambda: "file" in server.names())
        old = 1
        for number in range(3):
            (root / f"file{number}").write_text("two")
        wait_until(lambda: "file2" in server.names())
        (root / "file0").unlink()
        wait_until(lambda: "file0" not in server.names())
        assert cli.main(["squash", "--db", str(database), "--yes", "--json"]) == 0
        floor = json.loads(capsys.readouterr().out)["floor"]
        status, gone = server.get(f"/api/v1/changes?cursor={old}")
        assert (status, gone["error"], gone["earliest"]) == (410, "cursor_expired", floor)
        assert server.get(f"/api/v1/changes?cursor={floor}")[0] == 200
        assert {"file", "file1", "file2"} <= server.names()
        assert server.end() == 0
    assert_sound(database)
