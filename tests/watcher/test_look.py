"""A look says what is there, and nothing of what only leads elsewhere."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from watcher.backend import Place
from watcher.excludes import Excludes
from watcher.filesystems import Filesystems
from watcher.hidden import private_files
from watcher.look import Looker
from watcher.mounts import MountTable


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def looker(tmp_path: Path) -> Iterator[Looker]:
    mounts = MountTable()
    yield Looker(Filesystems(mounts), Excludes(), private_files([bytes(tmp_path / "log.db")]))
    mounts.close()


def place(name: str) -> Place:
    return Place(1, name.encode())


def test_a_file_is_described_by_its_facts(tmp_path: Path, directory: int, looker: Looker) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    facts = looker.look(directory, place("file")).facts
    found = (tmp_path / "file").stat()
    assert facts is not None
    assert (facts.size, facts.ino, facts.mtime_ns) == (5, found.st_ino, found.st_mtime_ns)
    assert not facts.is_directory


def test_links_of_directories_are_not_counted(
    tmp_path: Path, directory: int, looker: Looker
) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    facts = looker.look(directory, place("d")).facts
    assert facts is not None
    assert (facts.is_directory, facts.nlink, facts.size) == (True, 0, 0)


def test_a_symbolic_link_is_not_followed(tmp_path: Path, directory: int, looker: Looker) -> None:
    (tmp_path / "link").symlink_to("/etc")
    facts = looker.look(directory, place("link")).facts
    assert facts is not None
    assert stat.S_ISLNK(facts.mode)
    assert facts.target == b"/etc"


@pytest.mark.parametrize("name", ["missing", "file/below"])
def test_what_is_not_there_is_nothing(
    tmp_path: Path, directory: int, looker: Looker, name: str
) -> None:
    (tmp_path / "file").touch()
    seen = looker.look(directory, place(name))
    assert (seen.facts, seen.excluded) == (None, False)


def test_what_is_excluded_is_said_to_be(tmp_path: Path, directory: int, looker: Looker) -> None:
    (tmp_path / ".DS_Store").touch()
    seen = looker.look(directory, place(".DS_Store"))
    assert (seen.facts, seen.excluded) == (None, True)


def test_the_servers_files_are_private_only_where_they_lie(
    tmp_path: Path, directory: int, looker: Looker
) -> None:
    assert looker.hidden.is_private(directory, b"log.db")
    assert not looker.hidden.is_private(directory, b"other.db")
    (tmp_path / "below").mkdir()
    below = os.open(tmp_path / "below", os.O_RDONLY)
    assert not looker.hidden.is_private(below, b"log.db")
    os.close(below)


def test_a_birth_is_known_or_not_but_never_of_another_file(
    tmp_path: Path, directory: int, looker: Looker
) -> None:
    (tmp_path / "file").touch()
    born = looker.birth_ns(directory, b"file")
    assert born is None or born <= (tmp_path / "file").stat().st_ctime_ns
    assert looker.birth_ns(directory, b"missing") is None
