import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from eventlog import history
from eventlog.archive import ARCHIVE_PATH, Archive
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
from tools.upkeep import Upkeep

Capture = pytest.CaptureFixture[str]
LEFT = [1, 7, 9, 10]
"""Positions of the sample that are the last of their node."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The sample, whose events are of the past: all are older than any window in days."""
    path = tmp_path / "log.db"
    write(path)
    return path


def stored(database: Path) -> list[int]:
    with closing(open_reader(str(database))) as reader:
        return [record.position for record in history.read(reader, 0, history.head(reader))]


def run(capsys: Capture, *words: str) -> dict[str, object]:
    assert cli.main(["compact", *words, "--json"]) == 0
    result: dict[str, object] = json.loads(capsys.readouterr().out)
    return result


def test_without_a_server_it_is_done_here(database: Path, capsys: Capture) -> None:
    result = run(capsys, "--db", str(database), "--history-days", "0")
    assert (result["dropped"], result["merged"], result["complete"]) == (6, 10, True)
    assert stored(database) == LEFT
    assert_sound(database)


def test_a_dry_run_changes_nothing(database: Path, capsys: Capture) -> None:
    before = database.read_bytes()
    result = run(capsys, "--db", str(database), "--history-days", "0", "--dry-run")
    assert (result["dropped"], result["merged"]) == (6, 10)
    assert database.read_bytes() == before
    assert cli.main(["compact", "--db", str(database), "--history-days", "0", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("6 events would be dropped (")


def test_it_says_what_it_did(database: Path, capsys: Capture) -> None:
    assert cli.main(["compact", "--db", str(database), "--history-days", "0"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("6 events dropped (")
    assert "the writer was held for" in out
    assert out.count("\n") == 1


def test_the_configuration_says_window_and_archive(
    database: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "server.yaml"
    file.write_text(
        f"watches: {{media: /mnt/media}}\ndatabase_url: {database}\n"
        f"history_days: 0\narchive: {tmp_path}/archive\n"
    )
    assert run(capsys, "--config", str(file))["archived"] == 10
    with closing(open_reader(str(database))) as reader:
        archive = Archive(f"{tmp_path}/archive")
        assert len(archive.segments(reader, 0, 10)) == 1


def test_a_log_with_an_archive_keeps_it_though_the_command_knows_nothing_of_it(
    database: Path, tmp_path: Path, capsys: Capture
) -> None:
    log = Log(str(database), FOLDS)
    log.call(lambda tx: tx.set_meta(ARCHIVE_PATH, f"{tmp_path}/archive"))
    log.close()
    assert run(capsys, "--db", str(database), "--history-days", "0")["archived"] == 10


def test_no_log_is_made_where_there_is_none(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["compact", "--db", f"{tmp_path}/none.db"]) == 1
    assert "no nasfeed database here" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("text", ["-1", "x", "nan", "1e9"])
def test_a_window_that_is_none_is_refused(database: Path, text: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["compact", "--db", str(database), "--history-days", text])
    assert "is no number of days" in capsys.readouterr().err


@contextmanager
def maintained(database: Path) -> Iterator[Maintenance]:
    log = Log(str(database), FOLDS)
    try:
        yield Maintenance(log, SystemClock(), 30, None)
    finally:
        log.close()


def test_the_server_does_it_when_asked(database: Path, capsys: Capture) -> None:
    with maintained(database) as maintenance, commanded(database, maintenance.commands()):
        assert run(capsys, "--db", str(database), "--history-days", "0")["dropped"] == 6
    assert stored(database) == LEFT


def test_the_server_does_it_by_itself(database: Path) -> None:
    log = Log(str(database), FOLDS)
    upkeep = Upkeep(Maintenance(log, SystemClock(), 0, None).tasks(), SystemClock())
    upkeep.ask("compaction")
    upkeep.run_due()
    log.close()
    assert (upkeep.problems, stored(database)) == ([], LEFT)


def test_a_real_server_is_asked_and_stops_in_time(tmp_path: Path, capsys: Capture) -> None:
    root, database = tmp_path / "root", tmp_path / "state" / "log.db"
    root.mkdir()
    (root / "file").write_text("one")
    with running(str(root), "--db", str(database), "--port", "0") as server:
        wait_until(lambda: "file" in server.names())
        for text in ("two", "three"):
            head = server.get("/api/v1/cursor")[1]["cursor"]
            (root / "file").write_text(text)
            wait_until(lambda: server.get("/api/v1/cursor")[1]["cursor"] > head)  # noqa: B023 - at once
        result = run(capsys, "--db", str(database), "--history-days", "0")
        assert result["dropped"] not in {0, 1}
        assert "file" in server.names()
        assert server.end() == 0
    assert_sound(database)
