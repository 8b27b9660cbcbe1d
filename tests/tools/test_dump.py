import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog import archive as archives
from eventlog.archive import Archive
from eventlog.clock import SystemClock
from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader
from eventlog.events import Created, Modified, Moved, Reason, Removed
from eventlog.history import last_before, node_ids, read
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from tests.tools import sample
from tools import cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dump") / "log.db"
    sample.write(path)
    return path


@pytest.fixture(scope="module")
def compacted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same log, of which most is only in the archive."""
    folder = tmp_path_factory.mktemp("compacted")
    sample.write(folder / "log.db")
    compact(folder)
    return folder / "log.db"


def compact(folder: Path) -> None:
    log = Log(str(folder / "log.db"), FOLDS)
    archive = Archive(str(folder / "archive"))
    result = Compactor(log, Options(0, archive), SystemClock()).run(threading.Event())
    assert (result.dropped, result.archived) == (6, 10)
    log.close()


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def positions(database: Path, capsys: Capture, *words: str) -> list[int]:
    assert cli.main(["dump", "--db", str(database), "--json", *words]) == 0
    return [json.loads(line)["position"] for line in capsys.readouterr().out.splitlines()]


def test_the_table_says_what_happened(database: Path, capsys: Capture) -> None:
    assert cli.main(["dump", "--db", str(database)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "         1  2026-03-04 12:00:00  created    /mnt/media/"
    assert [line[33:] for line in lines[1:]] == [
        "created    /mnt/media/old/",
        "created    /mnt/media/old/a.txt  1.5 KiB",
        r"described  /mnt/media/old/a.txt  a\nb",
        "moved      /mnt/media/old → /mnt/media/new/  by smb:ann",
        "moved      /mnt/media/new/a.txt → /mnt/media/b.txt  1.5 KiB",
        "created    /mnt/media/caf\ufffd  → x\\n",
        "modified   /mnt/media/b.txt  7 B",
        "removed    /mnt/media/b.txt  deleted",
        "removed    /mnt/media/new/  moved out",
    ]


def test_json_lines_hold_everything(database: Path, capsys: Capture) -> None:
    cli.main(["dump", "--db", str(database), "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[3]["state"]["hash"] == "00" * 16
    assert lines[3]["problem"] == "a\nb"
    assert lines[4]["author"] == "smb:ann"
    assert lines[4]["from_path"] == "/mnt/media/old"
    assert lines[6]["path"] == "/mnt/media/caf\ufffd"
    assert lines[6]["path_raw"] == "L21udC9tZWRpYS9jYWbp"
    assert lines[6]["state"]["target"] == "x\n"
    assert lines[6]["state"]["kind"] == "symlink"
    assert lines[8] == {
        "position": 9,
        "time": "2026-03-12T12:00:00.000000Z",
        "event": "removed",
        "node": 3,
        "id": lines[2]["id"],
        "author": "",
        "path": "/mnt/media/b.txt",
        "reason": "deleted",
        "parent": 1,
        "parent_id": lines[0]["id"],
        "name": "b.txt",
        "kind": "file",
        "mode": 0o100644,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", range(1, 11)),
        ("--from 4 --to 6", [4, 5, 6]),
        ("--from 0 --to 1", [1]),
        ("--from 11", []),
        ("--to 999", range(1, 11)),
        ("--kind removed", [9, 10]),
        ("--kind moved,removed --kind described", [4, 5, 6, 9, 10]),
        ("--node 3", [3, 4, 6, 8, 9]),
        ("--node 3 --kind modified", [8]),
        ("--node 77", []),
        ("--since 2026-03-12T12:00:00Z", [9, 10]),
        ("--since 2026-03-12T12:00:01Z", [10]),
        ("--until 2026-03-05T12:00:00Z", [1]),
        ("--since 2026-03-05 --until 2026-03-07", [2, 3]),
        ("--since 2026-03-05T14:00:00+02:00 --until 2026-03-06T00:00", [2]),
        ("--since 2099-01-01", []),
        ("--until 1999-01-01", []),
        ("--path /mnt/media/new", [3, 4, 5, 6, 10]),
        ("--path /mnt/media/new/", [3, 4, 5, 6, 10]),
        ("--path /mnt/media/old", [2, 3, 4, 5]),
        ("--path /mnt/media/b.txt", [6, 8, 9]),
        ("--path /mnt/media", range(1, 11)),
        ("--path /", range(1, 11)),
        ("--path /mnt/med", []),
        ("--path /mnt/media/new --kind moved --from 6", [6]),
        ("--author smb", [5]),
        ("--author ann", [5]),
        ("--author smb:ann", [5]),
        ("--author nobody", []),
        ("--author= --since 2026-03-10", [7, 8, 9, 10]),
        ("--author smb --until 2026-03-08", []),
    ],
)
def test_filters(
    database: Path,
    compacted: Path,
    capsys: Capture,
    words: str,
    expected: list[int],
) -> None:
    """They let the same through, whether it is in the log or only in the archive."""
    assert positions(database, capsys, *words.split()) == list(expected)
    assert positions(compacted, capsys, *words.split()) == list(expected)


WANDERING = [
    Draft(0, Created("", sample.directory(0, b"r", target=b"/r"))),  # 1
    *(Draft(0, Created("", sample.directory(1, name))) for name in (b"a", b"b")),  # 2, 3
    Draft(0, Created("", sample.state(2, b"f"))),  # 4
    Draft(2, Moved("", sample.directory(3, b"x"), 1, b"a")),  # 5
    Draft(4, Modified("", sample.state(2, b"f", size=5))),  # 6
    Draft(3, Moved("", sample.directory(1, b"c"), 1, b"b")),  # 7
    Draft(4, Moved("", sample.state(1, b"g"), 2, b"f")),  # 8
    Draft(2, Moved("", sample.directory(1, b"a"), 3, b"x")),  # 9
    Draft(4, Moved("", sample.state(2, b"f"), 1, b"g")),  # 10
]
WHERE = {
    2: "/r/a",
    3: "/r/b",
    4: "/r/a/f",
    5: "/r/a > /r/b/x",
    6: "/r/b/x/f",
    7: "/r/b > /r/c",
    8: "/r/c/x/f > /r/g",
    9: "/r/c/x > /r/a",
    10: "/r/g > /r/a/f",
}


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("first", [2, 5, 6, 7, 10])
def test_every_event_is_shown_where_it_was(
    tmp_path: Path,
    capsys: Capture,
    archived: bool,  # noqa: FBT001 - a parameter of a test
    first: int,
) -> None:
    """Directories have had other names since, and one has come back to its own."""
    log = Log(f"{tmp_path}/log.db", FOLDS)
    for draft in WANDERING:
        log.append([draft])
    if archived:
        options = Options(0, Archive(f"{tmp_path}/archive"))
        Compactor(log, options, SystemClock()).run(threading.Event())
    log.close()
    cli.main(["dump", "--db", f"{tmp_path}/log.db", "--json", "--from", str(first)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {
        line["position"]: f"{line['from_path']} > {line['path']}"
        if "from_path" in line
        else line["path"]
        for line in lines
    }
    assert found == {position: where for position, where in WHERE.items() if position >= first}


def test_a_root_that_was_removed_is_still_found_by_its_path(
    tmp_path: Path, capsys: Capture
) -> None:
    log = Log(f"{tmp_path}/log.db", FOLDS)
    log.append([Draft(0, Created("", sample.directory(0, b"r", target=b"/mnt/r")))])
    log.append([Draft(0, Created("", sample.state(1, b"f")))])
    log.append([Draft(2, Removed("", Reason.ROOT_REMOVED, 1, b"f", 0o100644))])
    log.append([Draft(1, Removed("", Reason.ROOT_REMOVED, 0, b"r", 0o40755, b"/mnt/r"))])
    log.close()
    assert positions(tmp_path / "log.db", capsys, "--path", "/mnt/r/f") == [2, 3]
    assert positions(tmp_path / "log.db", capsys, "--path", "/mnt/r") == [1, 2, 3, 4]


def test_a_length_of_time_counts_from_now(database: Path, capsys: Capture) -> None:
    assert positions(database, capsys, "--since", "1s") == []
    assert positions(database, capsys, "--since", "52000w") == list(range(1, 11))


def test_a_node_can_be_given_by_its_id(database: Path, capsys: Capture) -> None:
    node_id = node_ids(open_reader(str(database))).to_id(3)
    assert positions(database, capsys, "--node", node_id.upper()) == [3, 4, 6, 8, 9]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--node", "x"], "'x' is no node of this log"),
        (["--node", "0"], "'0' is no node of this log"),
        (["--node", "aaaaaaaa-0000-8000-8000-000000000003"], "is no node of this log"),
    ],
)
def test_an_unknown_node_is_an_error(
    database: Path, capsys: Capture, words: list[str], message: str
) -> None:
    assert cli.main(["dump", "--db", str(database), *words]) == 1
    assert message in capsys.readouterr().err


def test_a_path_of_which_nothing_is_known_is_told(database: Path, capsys: Capture) -> None:
    assert cli.main(["dump", "--db", str(database), "--path", "/no/such"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "nasfeed: /no/such: no such event; is the path absolute and right?\n")


@pytest.mark.parametrize(
    "words",
    [
        ["--kind", "renamed"],
        ["--since", "yesterday"],
        ["--since", "9999999999w"],
        ["--from", "-1"],
        ["--to", "1_0"],
        ["--from", "9" * 30],
    ],
)
def test_nonsense_is_wrong_usage(database: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["dump", "--db", str(database), *words])
    assert caught.value.code == 2


def test_a_missing_database_is_named(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["dump", "--db", f"{tmp_path}/none.db"]) == 1
    assert capsys.readouterr().err == (
        f"nasfeed: {tmp_path}/none.db: no nasfeed database here; give the one to read with --db\n"
    )


def test_the_path_may_lead_through_a_link(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    target = os.fsencode((tmp_path / "real").resolve())
    log = Log(f"{tmp_path}/log.db", FOLDS)
    log.append([Draft(0, Created("", sample.directory(0, b"real", target=target)))])
    log.append([Draft(0, Created("", sample.state(1, b"gone")))])
    log.close()
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "log.db"
    assert positions(database, capsys, "--path", f"{tmp_path}/link/gone") == [2]
    assert positions(database, capsys, "--path", "real/gone") == [2]
    assert positions(database, capsys, "--path", "./real/../real") == [1, 2]


def test_a_log_is_read_while_it_is_written(tmp_path: Path, capsys: Capture) -> None:
    log = Log(f"{tmp_path}/log.db", FOLDS)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            name = str(number).encode()
            log.append([Draft(0, Created("", sample.directory(0, name, target=name)))] * 50)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            found = positions(tmp_path / "log.db", capsys)
            assert found == list(range(1, len(found) + 1))
    finally:
        stop.set()
        writer.join()
        log.close()


def test_the_time_of_every_position_is_found(database: Path) -> None:
    connection = open_reader(str(database))
    for record in read(connection, 0, 100):
        assert last_before(connection, record.time_us) == record.position - 1
        assert last_before(connection, record.time_us + 1) == record.position


def test_without_the_archive_only_the_log_is_shown(
    compacted: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert positions(compacted, capsys, "--no-archive") == [1, 7, 9, 10]
    elsewhere = tmp_path / "elsewhere"
    (compacted.parent / "archive").rename(elsewhere)
    try:
        assert cli.main(["dump", "--db", str(compacted)]) == 1
        error = capsys.readouterr().err
        assert "say with --archive DIR where they are now" in error
        assert positions(compacted, capsys, "--archive", str(elsewhere)) == list(range(1, 11))
    finally:
        elsewhere.rename(compacted.parent / "archive")


def test_what_a_missing_file_of_the_archive_held_is_told(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SEGMENT_EVENTS", 4)
    sample.write(tmp_path / "log.db")
    compact(tmp_path)
    second = sorted((tmp_path / "archive").iterdir())[1]
    second.rename(tmp_path / "kept")
    assert positions(tmp_path / "log.db", capsys) == [1, 2, 3, 4, 7, 9, 10]
    assert cli.main(["dump", "--db", f"{tmp_path}/log.db"]) == 0
    assert capsys.readouterr().err == (
        f"nasfeed: {tmp_path}/archive: the file of positions 5 to 8 is missing; of those only what"
        " is left in the log is shown\n"
    )
    assert cli.main(["dump", "--db", f"{tmp_path}/log.db", "--from", "9"]) == 0
    assert capsys.readouterr().err == ""


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    """The other end is closed after one line; what is to come does not fit into the pipe."""
    log = Log(f"{tmp_path}/log.db", FOLDS)
    for number in range(20):
        name = str(number).encode()
        log.append([Draft(0, Created("", sample.directory(0, name, target=name)))] * 200)
    log.close()
    command = [sys.executable, "-m", "tools", "dump", "--json", "--db", f"{tmp_path}/log.db"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"position":1,')
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141
