"""Opening a database: every setting takes, and what is not ours is refused and left alone."""

from pathlib import Path

import apsw
import pytest

from eventlog import connection as module
from eventlog.connection import (
    BUSY_TIMEOUT_MS,
    FORMAT,
    WRITER_PRAGMAS,
    make_directory,
    open_reader,
    open_writer,
    translated_errors,
)
from eventlog.errors import (
    LogError,
    LogFormatError,
    LogFullError,
    LogMissingError,
    LogUnavailableError,
)
from eventlog.log import Log
from projections.replay import FOLDS
from tests.eventlog.helpers import files


@pytest.fixture
def made(path: Path) -> Path:
    log = Log(str(path), FOLDS)
    log.append(files(3))
    log.close()
    return path


def foreign(path: Path, script: str = "create table places (url)") -> bytes:
    connection = apsw.Connection(str(path))
    connection.execute(script).fetchall()
    connection.close()
    return path.read_bytes()


def one_line(error: pytest.ExceptionInfo[LogError], path: Path) -> str:
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text


def test_every_setting_of_the_writer_takes(path: Path) -> None:
    connection = open_writer(str(path))
    assert {name: connection.pragma(name) for name in WRITER_PRAGMAS} == WRITER_PRAGMAS
    assert connection.pragma("busy_timeout") == BUSY_TIMEOUT_MS
    connection.close()


def test_the_settings_are_those_that_keep_the_promises() -> None:
    assert (WRITER_PRAGMAS["journal_mode"], WRITER_PRAGMAS["synchronous"]) == ("wal", 2)


def test_a_new_database_can_give_space_back(made: Path) -> None:
    connection = open_writer(str(made))
    assert connection.pragma("auto_vacuum") == 2
    connection.close()


@pytest.mark.parametrize("name", sorted(WRITER_PRAGMAS))
def test_a_setting_that_does_not_take_is_refused(path: Path, name: str) -> None:
    pragmas = {**WRITER_PRAGMAS, name: "nonsense"}
    with pytest.raises(LogError, match=f"SQLite keeps {name}=.* instead of nonsense") as error:
        open_writer(str(path), pragmas=pragmas)
    one_line(error, path)


def test_a_filesystem_without_shared_memory_is_refused(path: Path) -> None:
    with pytest.raises(LogError, match="journal_mode=delete instead of wal; put the database"):
        open_writer(str(path), vfs="unix-dotfile")


def test_a_reader_cannot_write(made: Path) -> None:
    reader = open_reader(str(made))
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("delete from events")
    reader.close()


def test_a_reader_wants_a_database_that_is_there(path: Path) -> None:
    with pytest.raises(LogMissingError, match="no nasfeed database here") as error:
        open_reader(str(path))
    one_line(error, path)
    assert not path.exists()


@pytest.mark.parametrize("version", [FORMAT + 1, 99])
def test_a_newer_format_is_refused_and_left_as_it_was(made: Path, version: int) -> None:
    connection = apsw.Connection(str(made))
    connection.pragma("user_version", version)
    connection.close()
    before = made.read_bytes()
    with pytest.raises(LogFormatError, match=f"format {version} is not known here") as error:
        Log(str(made), FOLDS)
    assert "use a newer nasfeed" in one_line(error, made)
    with pytest.raises(LogFormatError):
        open_reader(str(made))
    assert made.read_bytes() == before


@pytest.mark.parametrize(
    "script",
    [
        "create table places (url)",
        "pragma journal_mode = delete; create table places (url); insert into places values (1)",
        f"create table events (a); pragma user_version = {FORMAT}",
        "pragma user_version = 7",
    ],
)
def test_a_foreign_database_is_refused_and_left_as_it_was(path: Path, script: str) -> None:
    before = foreign(path, script)
    with pytest.raises(LogFormatError, match="this is no nasfeed database") as error:
        Log(str(path), FOLDS)
    one_line(error, path)
    with pytest.raises(LogFormatError):
        open_reader(str(path))
    assert path.read_bytes() == before
    assert not path.with_name(f"{path.name}-wal").exists()


@pytest.mark.parametrize("content", [b"just text\n" * 500, b"\x00" * 4096, b"SQLite format 3\x00"])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(
    path: Path, content: bytes
) -> None:
    path.write_bytes(content)
    with pytest.raises(LogFormatError, match="damaged, or no database") as error:
        Log(str(path), FOLDS)
    one_line(error, path)
    assert path.read_bytes() == content


def test_a_database_cut_in_half_is_refused(made: Path) -> None:
    content = made.read_bytes()
    made.write_bytes(content[: len(content) // 2])
    with pytest.raises(LogFormatError, match="restore it from a backup") as error:
        Log(str(made), FOLDS)
    one_line(error, made)


def test_a_birth_that_was_cut_short_is_begun_again(path: Path) -> None:
    """The first page is there, the tables are not: the power went at the worst time."""
    connection = open_writer(str(path))
    connection.close()
    assert path.stat().st_size > 0
    log = Log(str(path), FOLDS)
    assert log.append(files(1)) == 1
    log.close()


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    path.touch()
    Log(str(path), FOLDS).close()
    open_reader(str(path)).close()


def test_the_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "log.db"
    Log(str(path), FOLDS).close()
    assert path.exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnavailableError, match="cannot make the database's directory") as error:
        make_directory(str(tmp_path / "file" / "log.db"))
    one_line(error, tmp_path / "file")


def test_a_directory_in_the_place_of_the_database_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(LogUnavailableError, match="unable to open database file") as error:
        Log(str(path), FOLDS)
    one_line(error, path)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (apsw.FullError, LogFullError),
        (apsw.CorruptError, LogFormatError),
        (apsw.NotADBError, LogFormatError),
        (apsw.BusyError, LogUnavailableError),
        (apsw.IOError, LogUnavailableError),
    ],
)
def test_errors_of_sqlite_become_the_logs(
    raised: type[Exception], expected: type[LogError]
) -> None:
    with pytest.raises(expected, match=r"^/x: ") as error, translated_errors("/x"):
        raise raised("detail")
    assert isinstance(error.value.__cause__, raised)
    assert type(error.value) is expected


def test_errors_of_others_pass_unchanged() -> None:
    with pytest.raises(KeyError), translated_errors("/x"):
        raise KeyError("mine")


def test_a_query_leaves_no_transaction_open(made: Path) -> None:
    reader = open_reader(str(made))
    assert len(module.fetch(reader, "select position from events")) == 3
    assert reader.txn_state() == apsw.SQLITE_TXN_NONE
    reader.close()
