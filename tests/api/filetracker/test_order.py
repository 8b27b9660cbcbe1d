"""Bytes are on the disk before they have their name, and the name before the client is told."""

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from api.beneath.syncing import SYNCER
from tests.api.filetracker.tracking import NOON, Tracked, tracked


class Calls:
    """What is asked of the disk, in order; all of it is really done.

    Attributes:
        made: `sync`, `rename` or `unlink`, each with the inode that it is about: of the file, or
            for an unlink of the directory.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, int]] = []
        self._sync, self._rename, self._unlink = os.fsync, os.rename, os.unlink
        self._sync_all = SYNCER.sync
        monkeypatch.setattr(os, "fsync", self.sync)
        monkeypatch.setattr(SYNCER, "sync", self.sync_all)
        monkeypatch.setattr(os, "rename", self.rename)
        monkeypatch.setattr(os, "unlink", self.unlink)

    def sync(self, fd: int) -> None:
        self._sync(fd)
        self.made.append(("sync", os.fstat(fd).st_ino))

    def sync_all(self, fds: Sequence[int]) -> list[OSError | None]:
        found = self._sync_all(fds)
        self.made += [("sync", os.fstat(fd).st_ino) for fd in fds]
        return found

    def rename(
        self,
        source: bytes,
        target: bytes,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
    ) -> None:
        inode = os.lstat(source, dir_fd=src_dir_fd).st_ino
        self._rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        self.made.append(("rename", inode))

    def unlink(self, path: bytes, *, dir_fd: int | None = None) -> None:
        self._unlink(path, dir_fd=dir_fd)
        if dir_fd is not None:
            self.made.append(("unlink", os.fstat(dir_fd).st_ino))

    def at(self, call: str, inode: int) -> int:
        """Return when something was done for the first time."""
        return self.made.index((call, inode))

    def last(self, call: str, inode: int) -> int:
        """Return when something was done for the last time."""
        return max(when for when, made in enumerate(self.made) if made == (call, inode))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Tracked]:
    with tracked(tmp_path) as store:
        yield store


@pytest.mark.parametrize("size", [10, 2**20], ids=["small", "large"])
def test_a_file_is_synced_then_named_then_the_name_is_synced(
    store: Tracked, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    calls = Calls(monkeypatch)
    store.put("d/e/a", bytes(size))
    made = list(calls.made)
    file = store.path / "d/e/a"
    assert stat.S_ISREG(file.stat().st_mode)
    inode, above = file.stat().st_ino, file.parent.stat().st_ino
    assert calls.at("sync", inode) < calls.at("rename", inode) < calls.last("sync", above)
    # So are the directories that were made for it.
    assert ("sync", file.parent.parent.stat().st_ino) in made
    assert ("sync", store.path.stat().st_ino) in made


def test_so_it_is_with_each_of_those_that_are_stored_together(
    store: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    told: dict[str, list[tuple[str, int]]] = {}

    def put(path: str) -> None:
        assert store.put(path, path.encode()).status == 200
        told[path] = list(calls.made)

    paths = [f"t/{number % 3}/{number}" for number in range(24)]
    threads = [threading.Thread(target=put, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path, made in told.items():
        file = store.path / path
        inode, above = file.stat().st_ino, file.parent.stat().st_ino
        synced, named = made.index(("sync", inode)), made.index(("rename", inode))
        assert synced < named < max(at for at, did in enumerate(made) if did == ("sync", above))
        assert ("sync", store.path.stat().st_ino) in made
    assert len(told) == 24


def test_a_removal_is_synced_before_the_client_is_told(
    store: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("d/a")
    store.put("d/b")
    calls = Calls(monkeypatch)
    assert store.delete("d/a", NOON).status == 200
    above = (store.path / "d").stat().st_ino
    assert calls.at("unlink", above) < calls.last("sync", above)
