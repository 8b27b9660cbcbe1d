"""Disks that are unmounted, mounted elsewhere, swapped or pulled: nothing is ever removed."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eventlog.events import Content
from tests.serving import wait_until
from tests.watcher.mounting import image, mounted, run
from tests.watcher.nas import BACKENDS, Nas, started, write

pytestmark = pytest.mark.privileged

DEADLINE_SECONDS = 120

_SHUTDOWN = 0x8004587D
"""_IOR('X', 125, u32) of ext4 and XFS: from now on the disk does not answer."""
_NO_LOG_FLUSH = 2


def holders(point: Path) -> list[str]:
    """Return who has something open below a mount point, and what."""
    found = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            held = link.readlink()
        except OSError:
            continue  # it was closed meanwhile
        if held.is_relative_to(point):
            found.append(f"{link}: {held}")
    return found


class Disk:
    """A disk with a filesystem, mounted at the root of a server.

    Args:
        base: where its image and the mount points are.
        backend: what the server watches with.
        kind: type of the filesystem.
    """

    def __init__(self, base: Path, backend: str, kind: str) -> None:
        self.image = image(base / "image", kind, "-q", megabytes=320)
        self.point = base / "point"
        self.elsewhere = base / "elsewhere"
        for directory in (self.point, self.elsewhere):
            directory.mkdir()
        self.nas = Nas(base, {"root": self.point}, backend=backend, poll_interval=3.0)

    def mount(self, point: Path | None = None) -> None:
        run("mount", "-o", "loop", self.image, point or self.point)

    def unmount(self, point: Path | None = None) -> None:
        """Unmount as an operator does, who waits until the server has closed its directories."""

        def done() -> bool:
            command = ["umount", str(point or self.point)]
            return not subprocess.run(command, capture_output=True, check=False).returncode

        try:
            wait_until(done, "it can be unmounted", DEADLINE_SECONDS)
        except AssertionError as error:
            error.add_note("\n".join(holders(point or self.point)))
            raise

    def pull(self) -> None:
        """Let the disk fail from now on, as one that was pulled."""
        fd = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def wait(self, state: str) -> None:
        self.nas.wait(lambda: self.nas.statuses()[0].state == state, f"the root is {state}")

    def keeps(self, before: dict[bytes, int], head: int) -> bool:
        """Say whether all nodes are what they were, and none was removed meanwhile."""
        return (self.nas.ids(), self.nas.removals(head)) == (before, {})


@contextmanager
def served(base: Path, backend: str, kind: str) -> Iterator[Disk]:
    """Make a disk with something on it, and a server that has seen it."""
    made = Disk(base, backend, kind)
    with mounted("-o", "loop", made.image, point=made.point):
        write(made.point / "directory" / "below" / "file")
        write(made.point / "file", b"other content")
        with started(made.nas):
            made.nas.see(made.point / "directory", made.point / "file")
            yield made


@pytest.fixture(params=BACKENDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with served(tmp_path, request.param, "ext4") as made:
        yield made


@pytest.fixture(params=BACKENDS)
def xfs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk that says of everything that it cannot be read, once it is pulled."""
    with served(tmp_path, request.param, "xfs") as made:
        yield made


def test_a_disk_that_is_mounted_again_at_once_is_watched_again(disk: Disk) -> None:
    before, head = disk.nas.ids(), disk.nas.head
    disk.unmount()
    disk.mount()
    write(disk.point / "directory" / "below" / "new")
    disk.nas.see(disk.point / "directory")
    write(disk.point / "directory" / "newer")
    disk.nas.see(disk.point / "directory")
    assert before.items() <= disk.nas.ids().items()
    assert disk.nas.removals(head) == {}


def test_a_disk_that_is_away_keeps_all_and_what_was_done_elsewhere_is_found(disk: Disk) -> None:
    before, head = disk.nas.ids(), disk.nas.head
    disk.unmount()
    disk.wait("offline")
    with mounted("-o", "loop", disk.image, point=disk.elsewhere):
        assert disk.keeps(before, head)
        (disk.elsewhere / "directory").rename(disk.elsewhere / "renamed")
    disk.mount()
    disk.wait("online")
    disk.nas.see(disk.point / "renamed", disk.point / "file")
    number = disk.nas.number(disk.point / "renamed" / "below" / "file")
    assert number == before[bytes(disk.point / "directory" / "below" / "file")]
    assert disk.nas.removals(head) == {}


def test_an_empty_disk_in_its_place_removes_nothing(disk: Disk, tmp_path: Path) -> None:
    before, head = disk.nas.ids(), disk.nas.head
    other = image(tmp_path / "other", "ext4", "-q")
    disk.unmount()
    with mounted("-o", "loop", other, point=disk.point):
        status = disk.nas.statuses
        disk.nas.wait(lambda: "another filesystem" in status()[0].reason, "the reason is told")
        assert disk.keeps(before, head)
    disk.mount()
    disk.wait("online")
    disk.nas.see(disk.point / "directory", disk.point / "file")
    assert disk.keeps(before, head)


def test_a_disk_pulled_during_a_scan_removes_nothing(xfs: Disk) -> None:
    for number in range(300):
        write(xfs.point / "many" / str(number) / "file", b"%d" % number)
    xfs.nas.see(xfs.point / "many")
    run("sync", "--file-system", xfs.point)
    before, head = xfs.nas.ids(), xfs.nas.head
    xfs.nas.system.observers[0].rescan()
    xfs.pull()
    xfs.wait("offline")
    assert xfs.keeps(before, head)
    xfs.unmount()
    xfs.mount()
    xfs.wait("online")
    xfs.nas.see(xfs.point / "many", xfs.point / "directory")
    assert xfs.keeps(before, head)


def test_what_could_not_be_read_of_a_pulled_disk_is_read_when_it_is_back(tmp_path: Path) -> None:
    """The directories of such a disk are still in memory, so that the root seems well."""
    with served(tmp_path, "auto", "ext4") as disk:
        file = disk.point / "directory" / "new"
        with file.open("wb") as writing:
            writing.write(b"content")
            writing.flush()
            os.fsync(writing.fileno())
            disk.nas.wait(lambda: disk.nas.find(file) is not None, "it is known")
            disk.pull()

        def content() -> int:
            return disk.nas.node(file).state.content

        disk.nas.wait(lambda: content() == Content.FAILED, "it is given up", 90)
        disk.unmount()
        disk.mount()
        disk.nas.see(disk.point / "directory")
        assert content() == Content.DONE
