"""A full disk: told as such, nothing kept by halves, and it goes on when there is space again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.connection import open_reader
from eventlog.errors import LogFullError
from eventlog.log import Log
from projections.replay import FOLDS
from tests.eventlog.helpers import assert_sound, files, positions
from tests.small_disk import fill, mounted

pytestmark = pytest.mark.privileged


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 3 MiB."""
    with mounted(tmp_path / "small", 3) as folder:
        yield folder


def append_until_full(log: Log) -> None:
    while True:
        log.append(files(200))


def test_a_full_disk_is_told_and_what_was_told_stays(small: Path) -> None:
    path = small / "log.db"
    log = Log(str(path), FOLDS)
    with pytest.raises(LogFullError, match="the disk is full; free some space") as error:
        append_until_full(log)
    assert "\n" not in str(error.value)
    assert log.failure is None
    head = log.head
    assert head > 0
    reader = open_reader(str(path))
    assert positions(reader) == list(range(1, head + 1))
    reader.close()
    log.close()
    assert_sound(path)


def test_it_goes_on_when_there_is_space_again(small: Path) -> None:
    path, ballast = small / "log.db", small / "ballast"
    log = Log(str(path), FOLDS)
    assert log.append(files(1)) == 1
    fill(ballast)
    for _ in range(3):
        with pytest.raises(LogFullError):
            log.append(files(500))
    ballast.unlink()
    assert log.append(files(500)) == 2
    log.close()
    assert_sound(path)


def test_on_a_disk_without_one_free_page_it_says_so(small: Path) -> None:
    path = small / "log.db"
    Log(str(path), FOLDS).close()
    fill(small / "ballast")
    with pytest.raises(LogFullError, match="the disk is full; free some space"):
        Log(str(path), FOLDS)


def test_it_opens_on_a_full_disk_and_serves_what_it_has(small: Path) -> None:
    path, ballast, spare = small / "log.db", small / "ballast", small / "spare"
    log = Log(str(path), FOLDS)
    log.append(files(100))
    log.close()
    spare.write_bytes(bytes(32768))  # what the shared memory of the readers takes
    fill(ballast)
    spare.unlink()
    log = Log(str(path), FOLDS)
    assert log.head == 100
    with pytest.raises(LogFullError):
        log.append(files(5_000))
    ballast.unlink()
    assert log.append(files(1)) == 101
    log.close()
    assert_sound(path)


def test_a_whole_commit_that_was_not_synced_is_found_on_a_full_disk(small: Path) -> None:
    """The checkpoint at the start has no space for the pages, but the sync before it had."""
    path, copy = small / "log.db", small / "copy.db"
    log = Log(str(path), FOLDS)
    log.append(files(1_000))
    for end in ("", "-wal"):
        copy.with_name(f"{copy.name}{end}").write_bytes(
            path.with_name(f"{path.name}{end}").read_bytes()
        )
    log.close()
    (small / "copy.db.lock").touch()
    spare = small / "spare"
    spare.write_bytes(bytes(32768))
    fill(small / "ballast")
    spare.unlink()
    found = Log(str(copy), FOLDS)
    assert found.head == 1_000
    found.close()
    assert_sound(copy)
