import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.birth import birth_ns


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def stat_says(path: Path) -> int:
    """What stat(1) of coreutils prints; 0 where the filesystem does not say."""
    done = subprocess.run(["stat", "-c", "%.9W", path], capture_output=True, text=True, check=True)
    return int(done.stdout.strip().replace(".", ""))


def test_it_is_what_coreutils_says(directory: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    assert birth_ns(directory, b"file") == (stat_says(path) or None)


def test_it_stays_when_the_times_are_set(directory: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    before = birth_ns(directory, b"file")
    os.utime(path, ns=(1, 1))
    assert birth_ns(directory, b"file") == before


def test_a_reused_inode_number_has_another_birth(directory: int, tmp_path: Path) -> None:
    born = set()
    for _ in range(20):
        (tmp_path / "file").touch()
        born.add(((tmp_path / "file").stat().st_ino, birth_ns(directory, b"file")))
        (tmp_path / "file").unlink()
    if None in {birth for _, birth in born}:
        pytest.skip("this filesystem keeps no birth times")
    assert len(born) > 1


def test_a_symbolic_link_is_not_followed(directory: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    assert birth_ns(directory, b"link") == (stat_says(tmp_path / "link") or None)


def test_an_empty_name_is_the_directory_itself(directory: int, tmp_path: Path) -> None:
    assert birth_ns(directory, b"") == (stat_says(tmp_path) or None)


def test_a_name_that_is_not_utf8(directory: int, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\n")
    path.mkdir()
    assert birth_ns(directory, b"\xff\n") == (stat_says(path) or None)


def test_a_missing_name_is_file_not_found(directory: int) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        birth_ns(directory, b"missing")


def test_a_filesystem_without_births_says_none() -> None:
    fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY)
    try:
        assert birth_ns(fd, b"version") is None
    finally:
        os.close(fd)
