"""Scans with which other processes help, beside scans without, and when the helpers die."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventlog.events import State
from tests.serving import wait_until
from tests.watcher.mounting import image, mounted
from tests.watcher.nas import WALKED, Nas, started, write
from watcher.fanotify import FanotifyBackend

pytestmark = [pytest.mark.privileged, pytest.mark.slow]


def grow(top: Path, depth: int = 2) -> None:
    """Make a tree with one of everything in each directory."""
    for number in range(4):
        (top / f"{number}.txt").write_bytes(b"x" * number)
    (top / os.fsdecode(b"no\xffutf8")).touch()
    (top / ".DS_Store").touch()
    (top / "link").symlink_to("nowhere")
    os.mkfifo(top / "fifo")
    os.link(top / "1.txt", top / "again")
    os.utime(top / "2.txt", ns=(0, -(2**40)))
    (top / "empty").mkdir()
    if depth:
        for name in ("one", "two", "three"):
            (top / name).mkdir(mode=0o750)
            grow(top / name, depth - 1)


def nas_on(base: Path, disk: Path, backend: str) -> Nas:
    base.mkdir(exist_ok=True)
    return Nas(base, {"disk": disk}, backend=backend, startup="wait")


def states(nas: Nas) -> dict[bytes | None, State]:
    """What is known of every node by its path, but for what the describer adds."""
    with nas.tree() as tree:
        nodes = [tree.node(number) for number in tree.descendants(nas.number(nas.roots["disk"]))]
        return {
            tree.path(node.number): msgspec.structs.replace(
                node.state, parent=0, content=0, hash=b"", mime=""
            )
            for node in nodes
            if node is not None
        }


def is_watched_everywhere(nas: Nas) -> bool:
    """Whether there are as many watches as directories, the root among them."""
    directories = [state for state in states(nas).values() if state.is_directory]
    return nas.statuses()[0].watches == 1 + len(directories)


@contextlib.contextmanager
def walking(base: Path, disk: Path) -> Iterator[Nas]:
    with started(nas_on(base, disk, WALKED)) as nas:
        yield nas


def test_a_first_scan_records_the_same_with_help(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    grow(disk)
    with started(nas_on(tmp_path / "alone", disk, "fanotify")) as alone:
        expected = states(alone)
        entries = alone.statuses()[0].entries
    with walking(tmp_path / "helped", disk) as helped:
        assert states(helped) == expected
        wait_until(lambda: is_watched_everywhere(helped), "all is watched")
        assert helped.statuses()[0].entries == entries == len(expected)
        write(disk / "two" / "three" / "empty" / "late")
        (disk / "one" / "1.txt").unlink()
        helped.see()


def test_a_restart_with_help_says_nothing_and_watches_everything(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    grow(disk)
    with walking(tmp_path / "state", disk) as nas:
        nas.see()
        head = nas.head
        with nas.away():
            pass
        assert nas.head == head
        wait_until(lambda: is_watched_everywhere(nas), "all is watched")
        write(disk / "three" / "one" / "empty" / "late")
        nas.see()


def test_a_mount_in_the_tree_is_scanned_by_the_server_itself(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "one" / "point").mkdir(parents=True)
    with mounted("-o", "loop", image(tmp_path / "i", "ext4", "-q"), point=disk / "one" / "point"):
        grow(disk / "one" / "point", 1)
        with walking(tmp_path / "state", disk) as nas:
            nas.see()
            with nas.away():
                (disk / "one" / "point" / "one" / "0.txt").unlink()
            nas.see()


def test_what_changes_during_the_first_scan_is_not_lost(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    grow(disk, 3)
    ended = threading.Event()

    def change() -> None:
        for turn in range(400):
            top = disk / ("one", "two", "three")[turn % 3] / "two"
            write(top / f"new{turn}" / "file")
            (top / f"new{turn}").rename(top / "one" / f"new{turn}")
            (top / "three" / "0.txt").write_bytes(bytes(turn))
        ended.set()

    changing = threading.Thread(target=change)
    changing.start()
    with walking(tmp_path / "state", disk) as nas:
        changing.join()
        assert ended.is_set()
        nas.see()


def test_helpers_that_die_are_done_without(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    grow(disk, 3)
    nas = nas_on(tmp_path / "state", disk, WALKED)
    killed = 0

    def kill() -> None:
        nonlocal killed
        while not ended.wait(0.001):
            for pid in nas.helpers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1

    ended = threading.Event()
    killing = threading.Thread(target=kill)
    killing.start()
    try:
        with started(nas):
            nas.see()
    finally:
        ended.set()
        killing.join()
    assert killed


def test_later_scans_keep_nothing_of_directories_that_are_not_theirs(tmp_path: Path) -> None:
    """When there is no help any more: of a busy disk that would be all that happens on it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    grow(disk)
    with walking(tmp_path / "state", disk) as nas:
        [observer] = nas.system.observers
        observer.rescan()
        nas.wait(lambda: nas.statuses()[0].scans > 1, "it is scanned again")
        session = observer._session
        assert session is not None
        backend = session.backend
        assert isinstance(backend, FanotifyBackend)
        assert backend._places.strangers is None
