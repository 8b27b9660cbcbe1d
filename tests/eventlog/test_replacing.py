"""A file that is replaced is the old one or the new one, whatever fails."""

import errno
import os
from pathlib import Path

import pytest

from eventlog.durable import Calls
from eventlog.errors import LogFullError, LogUnavailableError
from eventlog.replacing import replacing


def replace(path: Path, content: bytes, error: Exception | None = None) -> None:
    with replacing(path) as file:
        file.write(content)
        if error:
            raise error


def test_the_new_content_is_there_only_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"ne")
        file.write(b"w")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_fails_within_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        replace(path, b"new", ZeroDivisionError())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (tmp_path / ".a.part").write_bytes(b"something long that was never finished")
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with replacing(path) as file:
        file.write(b"one")
        with pytest.raises(LogUnavailableError, match="another nasfeed is writing this"):
            replace(path, b"two")
    assert path.read_bytes() == b"one"


class Late(Calls):
    """Opens the part of a writer that finishes just then, before it can be locked."""

    def __init__(self) -> None:
        self.opened = 0

    def open(self, path: Path) -> int:
        fd = super().open(path)
        self.opened += 1
        if self.opened == 1:
            path.rename(path.with_name("a"))
        return fd


def test_a_file_that_was_just_finished_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / ".a.part").write_bytes(b"finished")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a", calls=Late()):
        raise ZeroDivisionError
    assert (tmp_path / "a").read_bytes() == b"finished"


class Failing(Calls):
    def __init__(self, method: str, code: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        setattr(self, method, fail)


@pytest.mark.parametrize("method", ["open", "truncate", "write", "sync", "rename"])
@pytest.mark.parametrize(
    ("code", "expected"), [(errno.EIO, LogUnavailableError), (errno.ENOSPC, LogFullError)]
)
def test_an_error_leaves_the_old_one_and_is_one_line(
    tmp_path: Path, method: str, code: int, expected: type[Exception]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with (
        pytest.raises(expected, match=f"^{tmp_path}/") as error,
        replacing(path, calls=Failing(method, code)) as file,
    ):
        file.write(b"new")
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old"


def test_where_there_is_no_directory_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailableError, match="none/a: No such file"):
        replace(tmp_path / "none" / "a", b"")
