"""A node number leads to its directory, or to nothing, never to another one."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventlog.events import Moved
from eventlog.log import Draft
from tests.watcher.rig import Rig, followed, rigs
from watcher.backend import Sign
from watcher.directories import OPEN_MAX, Directories


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with followed(tmp_path) as rig:
        yield rig


def opened(rig: Rig, number: int) -> int | None:
    """Return the inode of what a number leads to."""
    fd = rig.tools.directories.fd(number)
    return None if fd is None else os.fstat(fd).st_ino


def test_a_number_leads_to_its_directory_wherever_the_tree_says(rig: Rig) -> None:
    deep = rig.path / "a" / "b"
    deep.mkdir(parents=True)
    rig.scan()
    number, inode = rig.node("a/b").number, deep.stat().st_ino
    rig.tools.directories.close()
    assert opened(rig, number) == inode
    assert opened(rig, rig.number) == rig.path.stat().st_ino


def test_another_directory_in_its_place_is_not_taken_for_it(rig: Rig) -> None:
    (rig.path / "a").mkdir()
    rig.scan()
    number = rig.node("a").number
    rig.tools.directories.close()
    (rig.path / "a").rename(rig.path / "b")
    (rig.path / "a").mkdir()
    assert opened(rig, number) is None


@pytest.mark.parametrize("what", ["file", "link", "nothing"])
def test_what_is_no_directory_any_more_leads_to_nothing(rig: Rig, what: str) -> None:
    (rig.path / "a" / "b").mkdir(parents=True)
    rig.scan()
    numbers = [rig.node("a").number, rig.node("a/b").number]
    rig.tools.directories.close()
    (rig.path / "a").rename(rig.path / "moved")
    if what == "file":
        (rig.path / "a").touch()
    elif what == "link":
        (rig.path / "a").symlink_to("moved")
    assert opened(rig, numbers[0]) is None


def test_a_number_nobody_knows_leads_to_nothing(rig: Rig) -> None:
    rig.scan()
    assert opened(rig, 999) is None


def test_directories_of_other_roots_are_known_as_such(tmp_path: Path) -> None:
    with rigs(tmp_path, "one", "two") as [one, two]:
        (two.path / "a").mkdir()
        one.scan()
        two.scan()
        number = two.node("a").number
        assert one.tools.directories.is_foreign(number)
        assert opened(one, number) is None
        assert not two.tools.directories.is_foreign(number)


def test_what_hangs_in_a_circle_for_a_moment_is_not_below_another_root(rig: Rig) -> None:
    """Else nobody would look for it any more: its moves were seen at different times."""
    (rig.path / "a" / "b").mkdir(parents=True)
    rig.scan()
    above, below = rig.node("a"), rig.node("a/b")
    state = msgspec.structs.replace(above.state, parent=below.number)
    rig.append([Draft(above.number, Moved("", state, rig.number, b"a"))])
    assert not rig.tools.directories.is_foreign(below.number)
    assert not rig.tools.directories.is_foreign(above.number)


def test_only_some_stay_open(rig: Rig) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(OPEN_MAX + 50):
        (rig.path / f"{number}").mkdir()
        (rig.path / f"{number}" / "below").mkdir()
    rig.scan()
    for number in range(OPEN_MAX + 50):
        assert opened(rig, rig.node(f"{number}").number)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + OPEN_MAX + 5


def test_a_tree_deeper_than_any_path_may_be_long_is_reached(rig: Rig) -> None:
    fd = os.open(rig.path, os.O_PATH)
    for _ in range(30):
        os.mkdir("x" * 200, dir_fd=fd)
        below = os.open("x" * 200, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    os.mkdir("end", dir_fd=fd)
    os.close(fd)
    rig.hint("x" * 200, Sign.CREATED)
    rig.work()
    assert len(rig.names()) == 31
    rig.tools.directories.close()
    deepest = max(rig.tree.descendants(rig.number))
    assert opened(rig, deepest) is not None


def test_a_directory_that_cannot_be_told_what_it_is_is_not_left_open(rig: Rig) -> None:
    """A disk that was pulled opens what it has in memory, and then does not answer."""
    (rig.path / "a").mkdir()
    rig.scan()
    state = rig.node("a").state

    def fail(_: int) -> tuple[int, int]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    directories = Directories(rig.tree, fail)
    top = os.open(rig.path, os.O_PATH)
    before = list(Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match="Input/output error"):
        directories.enter(top, b"a", (state.fs, state.ino))
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)
    os.close(top)


def test_fewer_are_kept_where_the_process_may_have_few_descriptors() -> None:
    program = """
import resource
from watcher.directories import directories_max
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for soft in (1024, 256, 32):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(directories_max(2))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.split() == ["64", "16", "8"]
