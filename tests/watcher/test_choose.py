"""The best backend that is proved to work is chosen, and the reason told."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.clock import SystemClock
from tests.watcher import confined
from tests.watcher.fake_backend import FakeBackend
from tests.watcher.mounting import image, mounted, privileged, run
from watcher import choose as choosing
from watcher.choose import Choice, Wish, choose
from watcher.fanotify_kernel import mark_limit
from watcher.sysctl import watch_limit

POLL_SECONDS = 10.0


def chosen(path: Path, wish: Wish = "auto") -> Choice:
    fd = os.open(path, os.O_RDONLY)
    try:
        choice = choose(wish, fd, SystemClock(), POLL_SECONDS)
    finally:
        os.close(fd)
    choice.backend.close()
    return choice


@privileged
def test_root_gets_one_mark_for_the_whole_filesystem(tmp_path: Path) -> None:
    choice = chosen(tmp_path)
    assert choice.backend.name == "fanotify"
    assert choice.reason == (
        "fanotify, one mark for the whole filesystem: a file made there was noticed"
    )
    assert choice.warning == ""


@pytest.mark.parametrize("wish", ["inotify", "poll"])
def test_what_was_asked_for_is_taken(tmp_path: Path, wish: Wish) -> None:
    choice = chosen(tmp_path, wish)
    assert (choice.backend.name, choice.warning) == (wish, "")


def test_nothing_is_left_of_the_proof(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    choice = choose("auto", fd, SystemClock(), POLL_SECONDS)
    os.close(fd)
    assert choice.backend.watches() == 0
    assert choice.backend.read(0.1) == ({}, False)
    choice.backend.close()
    assert list(tmp_path.iterdir()) == []


@privileged
def test_a_subvolume_of_btrfs_has_its_directories_marked(tmp_path: Path) -> None:
    disk, point = image(tmp_path / "disk", "btrfs", "-q", megabytes=128), tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        run("btrfs", "-q", "subvolume", "create", point / "subvolume")
    with mounted("-o", "loop,subvol=subvolume", disk, point=point):
        choice = chosen(point)
    assert choice.backend.name == "fanotify"
    assert choice.reason.startswith("fanotify, a mark for each directory: ")


@privileged
def test_where_nothing_can_be_written_marks_are_believed(tmp_path: Path) -> None:
    with mounted("-t", "tmpfs", "-o", "ro", "none", point=tmp_path):
        choice = chosen(tmp_path)
    assert choice.backend.name == "fanotify"
    assert "could not be tried" in choice.reason
    assert "Read-only file system" in choice.reason


class Deaf(FakeBackend):
    """What fanotify would be on a filesystem that takes marks and tells nothing."""

    name = "fanotify"
    is_whole = True


def test_a_backend_that_notices_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "FanotifyBackend", Deaf)
    monkeypatch.setattr(choosing, "NOTICE_SECONDS", 0.05)
    choice = chosen(tmp_path)
    assert choice.backend.name == "inotify"
    assert choice.reason == (
        "fanotify: a file made there was not noticed; inotify: a file made there was noticed"
    )
    assert choice.warning == ""
    assert "not noticed" in chosen(tmp_path, "fanotify").warning


CHOOSE = """
import os, sys
from eventlog.clock import SystemClock
from watcher.choose import choose
fd = os.open(sys.argv[1] if sys.argv[1:] else "/dev/shm", os.O_RDONLY)
{before}
choice = choose("auto", fd, SystemClock(), 10.0)
print(choice.backend.name, choice.reason, choice.warning, sep="|")
choice.backend.close()
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        yield Path(directory)


@pytest.mark.privileged
def test_who_may_mark_only_directories_takes_what_has_the_higher_limit(open_to_all: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHOOSE.format(before=confined.AS_NOBODY), open_to_all],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    name, reason, warning = done.stdout.strip("\n").split("|")
    better = "fanotify" if mark_limit() > watch_limit() else "inotify"
    assert (name, warning) == (better, "")
    assert reason.endswith("a file made there was noticed")


def test_where_no_backend_can_be_had_it_is_polled_and_the_remedy_told() -> None:
    limits = {"max_inotify_instances": 0, "max_fanotify_groups": 0}
    name, reason, warning = (
        confined.in_user_namespace(limits, CHOOSE.format(before="")).strip().split("|")
    )
    assert name == "poll"
    assert "sysctl -w user.max_inotify_instances=" in reason
    assert "sysctl -w user.max_fanotify_groups=" in reason
    assert warning == reason
