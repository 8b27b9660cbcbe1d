"""What a released version wrote opens for ever, and says the same.

Each file in `golden/` was written once, by the first version of its format. None ever changes.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from api.answers import Answer
from api.encode import page_json
from api.feed import Feed
from api.status import Readiness
from eventlog.connection import FORMAT, open_reader
from eventlog.log import Log
from projections.changes import read_page
from projections.from_snapshot import filling
from projections.replay import FOLDS, compare, rebuild, table_rows
from projections.restore import examine, restore
from projections.snapshot_file import SnapshotFile
from tests.eventlog.helpers import FakeClock, assert_sound, files
from tools import cli
from tools.feed_reader import FeedReader

GOLDEN = Path(__file__).parent / "golden"
FORMATS = range(1, FORMAT + 1)

pytestmark = pytest.mark.parametrize("number", FORMATS)


@pytest.fixture
def database(tmp_path: Path, number: int) -> Path:
    """A copy of the database of a format, with its shared answer beside it."""
    return Path(shutil.copy(GOLDEN / f"format-{number}.sqlite", tmp_path / "log.db"))


def answer(number: int) -> bytes:
    """Return what a client at cursor 0 was answered when the file was written."""
    return (GOLDEN / f"format-{number}.json").read_bytes().removesuffix(b"\n")


def test_it_opens_and_goes_on(database: Path, number: int) -> None:
    assert number
    log = Log(str(database), FOLDS)
    assert log.append(files(2, "new")) == 22
    log.close()
    assert_sound(database)


def test_it_is_served_as_it_was(database: Path, number: int) -> None:
    log = Log(str(database), FOLDS)
    reader = FeedReader(log)
    feed = Feed(reader, lambda: Readiness(ready=True))
    found = asyncio.run(feed.changes(b"cursor=0"))
    feed.close()
    reader.close()
    log.close()
    assert isinstance(found, Answer)
    assert (found.status, found.body) == (200, answer(number))


def test_its_tables_are_those_of_a_replay(database: Path, number: int) -> None:
    assert number
    connection = apsw.Connection(str(database))
    before = table_rows(connection)
    assert compare(connection).differences == []
    rebuild(connection)
    assert table_rows(connection) == before
    connection.close()


def test_every_command_reads_it(
    database: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert number
    for words in (["dump"], ["check", "--no-disk"], ["replay", "--check"], ["tree"], ["snapshot"]):
        assert cli.main([words[0], "--db", str(database), *words[1:]]) == 0, words
    assert "/mnt/photos/2026/beach.jpg" in capsys.readouterr().out


def test_a_newer_format_is_refused_by_every_command_in_one_line(
    database: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert number
    connection = apsw.Connection(str(database))
    connection.pragma("user_version", FORMAT + 1)
    connection.close()
    before = database.read_bytes()
    copy = str(database.with_name("copy"))
    for name, *words in (
        *(["dump"], ["check"], ["replay"], ["tree"], ["snapshot"], ["compact"]),
        ["backup", copy],
    ):
        assert cli.main([name, *words, "--db", str(database)]) == 1, name
        err = capsys.readouterr().err
        assert f"format {FORMAT + 1} is not known here" in err
        assert "use a newer nasfeed" in err
        assert err.count("\n") == 1
    assert database.read_bytes() == before


def test_a_newer_format_is_not_served(database: Path, number: int) -> None:
    assert number
    connection = apsw.Connection(str(database))
    connection.pragma("user_version", FORMAT + 1)
    connection.close()
    words = ["serve", str(database.parent), "--port", "0", "--db", str(database)]
    ended = subprocess.run(
        [sys.executable, "-m", "tools", *words], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert f"format {FORMAT + 1} is not known here" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_snapshot_of_it_opens_restores_and_begins_a_replay(
    database: Path, tmp_path: Path, number: int
) -> None:
    path = GOLDEN / f"format-{number}.snapshot"
    with SnapshotFile(path) as file:
        file.verify()
        assert (file.header.position, file.header.nodes) == (21, 8)
        connection = apsw.Connection(str(database))
        before = table_rows(connection)
        rebuild(connection, fill=filling(file))
        assert table_rows(connection) == before
        connection.close()
    fresh = tmp_path / "fresh.db"
    restore(examine(path), str(fresh), FakeClock().us)
    assert_sound(fresh)
    reader = open_reader(str(fresh))
    log = Log(str(database), FOLDS)
    page = read_page(reader, 0, 1000)
    old = page_json(21, page.rows, log.log_id, log.ids, has_more=False)
    reader.close()
    log.close()
    assert old == answer(number)
