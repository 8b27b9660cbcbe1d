import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Created
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from projections.snapshot_store import SnapshotStore
from tests.tools import sample
from tools import cli
from tools.config import database_path
from tools.tree import configure

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tree") / "log.db"
    sample.write(path)
    return path


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(capsys: Capture, *words: str) -> list[str]:
    assert cli.main(["tree", *words]) == 0
    return capsys.readouterr().out.splitlines()


def refused(capsys: Capture, *words: str) -> str:
    assert cli.main(["tree", *words]) == 1
    return capsys.readouterr().err


NOW = ["/mnt/media/", "  caf\ufffd  → x\\n"]


def test_now_what_is_there_is_shown(database: Path, capsys: Capture) -> None:
    assert shown(capsys, "--db", str(database)) == [
        "as of position 10, 2026-03-13 12:00:00",
        *NOW,
    ]


@pytest.mark.parametrize(
    ("at", "lines"),
    [
        ("0", []),
        ("3", ["/mnt/media/", "  old/", "    a.txt  1.5 KiB"]),
        ("5", ["/mnt/media/", "  new/", "    a.txt  1.5 KiB"]),
        ("6", ["/mnt/media/", "  b.txt  1.5 KiB", "  new/"]),
        ("8", ["/mnt/media/", "  b.txt  7 B", "  caf\ufffd  → x\\n", "  new/"]),
        ("2026-03-06T12:00:01Z", ["/mnt/media/", "  old/", "    a.txt  1.5 KiB"]),
        ("2026-03-04", []),
        ("2099-01-01", NOW),
    ],
)
def test_then_what_was_there_is_shown(
    database: Path, capsys: Capture, at: str, lines: list[str]
) -> None:
    assert shown(capsys, "--db", str(database), "--at", at)[1:] == lines


def test_before_the_first_event_there_is_no_time(database: Path, capsys: Capture) -> None:
    assert shown(capsys, "--db", str(database), "--at", "0") == ["as of position 0"]


def test_a_path_may_be_asked_for_and_a_depth(database: Path, capsys: Capture) -> None:
    words = ["--db", str(database), "--at", "4"]
    assert shown(capsys, *words, "/mnt/media/old")[1:] == ["/mnt/media/old/", "  a.txt  1.5 KiB"]
    assert shown(capsys, *words, "/mnt/media/old/a.txt")[1:] == ["/mnt/media/old/a.txt  1.5 KiB"]
    assert shown(capsys, *words, "--depth", "1")[1:] == ["/mnt/media/", "  old/"]
    assert shown(capsys, *words, "--depth", "0", "/mnt/media/old")[1:] == ["/mnt/media/old/"]


def test_json_lines_hold_everything(database: Path, capsys: Capture) -> None:
    lines = [json.loads(line) for line in shown(capsys, "--db", str(database), "--json")]
    assert [(line["level"], line["node"], line["position"]) for line in lines] == [
        (0, 1, 1),
        (1, 7, 7),
    ]
    assert lines[1]["path"] == "/mnt/media/caf\ufffd"
    assert lines[1]["path_raw"] == "L21udC9tZWRpYS9jYWbp"
    assert lines[1]["time"] == "2026-03-10T12:00:00.000000Z"
    assert lines[1]["state"]["kind"] == "symlink"
    assert lines[1]["state"]["parent_id"] == lines[0]["id"]


def test_what_was_not_there_is_an_error(database: Path, capsys: Capture) -> None:
    words = ["--db", str(database), "--at", "4", "/mnt/media/new"]
    assert refused(capsys, *words) == "nasfeed: /mnt/media/new: nothing at position 4\n"


def test_a_position_to_come_or_forgotten_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    sample.write(database)
    assert "the log ends at position 10" in refused(capsys, "--db", str(database), "--at", "11")
    log = Log(str(database), FOLDS)
    log.call(lambda tx: tx.set_meta("merged", "5"))
    log.close()
    message = "what can be shown begins at position 5 (2026-03-08 12:00:00)"
    assert message in refused(capsys, "--db", str(database), "--at", "4")
    assert message in refused(capsys, "--db", str(database), "--at", "2026-03-08T12:00:00Z")


def test_what_is_merged_is_shown_from_a_snapshot(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    log = Log(str(database), FOLDS, clock=sample.StepClock())
    for step in sample.STEPS[:4]:
        log.append([step])
    words = ["--db", str(database)]
    assert cli.main(["snapshot", *words]) == 0
    for step in sample.STEPS[4:]:
        log.append([step])
    log.call(lambda tx: tx.set_meta("merged", "8"))
    log.close()
    capsys.readouterr()
    tree = ["/mnt/media/", "  old/", "    a.txt  1.5 KiB"]
    assert shown(capsys, *words, "--at", "4") == ["as of position 4, 2026-03-07 12:00:00", *tree]
    assert shown(capsys, *words, "--at", "6") == [
        "as of position 4, 2026-03-07 12:00:00: the last snapshot before what is asked for",
        *tree,
    ]
    lines = [json.loads(line) for line in shown(capsys, *words, "--at", "6", "--json")]
    assert [(line["as_of"], line["exact"]) for line in lines] == [(4, False)] * 3
    assert "begins at position 4" in refused(capsys, *words, "--at", "3")


def test_a_damaged_snapshot_is_passed_over_before_anything_is_shown(
    tmp_path: Path, capsys: Capture
) -> None:
    database = tmp_path / "log.db"
    words = ["--db", str(database)]
    log = Log(str(database), FOLDS, clock=sample.StepClock())
    for end in (3, 4, len(sample.STEPS)):
        for step in sample.STEPS[log.head : end]:
            log.append([step])
        assert cli.main(["snapshot", *words]) == 0
    log.call(lambda tx: tx.set_meta("merged", "8"))
    log.close()
    _, damaged, _ = SnapshotStore(Path(f"{database}.snapshots")).files()
    data = bytearray(damaged.path.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.path.write_bytes(data)
    capsys.readouterr()
    assert cli.main(["tree", *words, "--at", "4"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("as of position 3, ")
    assert captured.err.startswith(f"nasfeed: passed over: {damaged.path}: damaged, ")
    assert captured.err.count("\n") == 1


def test_more_than_a_page_is_shown_in_order(tmp_path: Path, capsys: Capture) -> None:
    log = Log(f"{tmp_path}/log.db", FOLDS)
    log.append([Draft(0, Created("", sample.directory(0, b"r", target=b"/")))])
    names = [b"%04d" % number for number in range(2_500)]
    log.append([Draft(0, Created("", sample.state(1, name))) for name in reversed(names)])
    log.close()
    lines = shown(capsys, "--db", f"{tmp_path}/log.db")
    assert lines[1] == "/"
    assert lines[2:] == [f"  {name.decode()}  0 B" for name in names]


class Served:
    """Two directories that are served together and one that is served alone, each with its log."""

    def __init__(self, top: Path) -> None:
        self.alone, self.one, self.two = (top / name for name in ("alone", "one", "two"))
        self._make([self.alone])
        self._make([self.one, self.two])

    def _make(self, roots: list[Path]) -> None:
        words = [str(root) for root in roots]
        parser = argparse.ArgumentParser()
        configure(parser)
        given = parser.parse_args(words)
        given.directories = given.places
        log = Log(database_path(given), FOLDS)
        for root in roots:
            made = sample.directory(0, root.name.encode(), target=bytes(root))
            number = log.append([Draft(0, Created("", made))])
            log.append([Draft(0, Created("", sample.directory(number, b"sub")))])
        log.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Served(tmp_path.resolve())


def test_directories_and_paths_are_told_apart(served: Served, capsys: Capture) -> None:
    alone, one, two = str(served.alone), str(served.one), str(served.two)
    for words, lines in (
        ([alone], [f"{alone}/", "  sub/"]),
        ([f"{alone}/sub"], [f"{alone}/sub/"]),
        ([alone, f"{alone}/sub"], [f"{alone}/sub/"]),
        ([one, two], [f"{one}/", "  sub/", f"{two}/", "  sub/"]),
        ([one, two, f"{two}/sub"], [f"{two}/sub/"]),
    ):
        assert shown(capsys, *words)[1:] == lines, words


def test_a_directory_that_nobody_serves_has_no_log(served: Served, capsys: Capture) -> None:
    message = refused(capsys, str(served.alone.parent / "other"))
    assert "no nasfeed database here" in message
    assert "other" in message


def test_beside_a_database_there_is_one_path(database: Path, capsys: Capture) -> None:
    message = refused(capsys, "--db", str(database), "/mnt/a", "/mnt/b")
    assert message == "nasfeed: beside --db or --config, give one path\n"


@pytest.mark.parametrize("words", [["--at", "yesterday"], ["--at", "9" * 30], ["--depth", "-1"]])
def test_nonsense_is_wrong_usage(database: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["tree", "--db", str(database), *words])
    assert caught.value.code == 2
