"""What is on the disk, said in the terms of the feed: the truth that everything must end at."""

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

from watcher.excludes import Excludes

_excluded = Excludes()


class Entry(NamedTuple):
    """What a client must know of a path.

    Directories have no size, time or hash: that their times follow their children is no news.
    The change time is left out: a hard link made and removed elsewhere changes it, and no kernel
    interface tells under which other names.
    """

    kind: str
    size: int = 0
    mtime_us: int = 0
    hash: str = ""


Picture = dict[bytes, Entry]

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char_device",
    stat.S_IFBLK: "block_device",
}


def kind_of(mode: int) -> str:
    """Name the kind of a file as the feed does."""
    return _KINDS[stat.S_IFMT(mode)]


def picture(roots: list[Path]) -> Picture:
    """Walk the disk."""
    found: Picture = {}
    for root in roots:
        _walk(os.fsencode(root), found)
    return found


def _walk(path: bytes, found: Picture) -> None:
    facts = os.lstat(path)
    kind = kind_of(facts.st_mode)
    if kind == "directory":
        found[path] = Entry(kind)
        for name in os.listdir(path):
            if not _excluded(name):
                _walk(path + b"/" + name, found)
        return
    size = facts.st_size if kind in ("file", "symlink") else 0
    digest = ""
    if kind == "file":
        with open(path, "rb") as file:
            digest = hashlib.md5(file.read(), usedforsecurity=False).hexdigest()
    found[path] = Entry(kind, size, facts.st_mtime_ns // 1000, digest)


def differences(one: Picture, other: Picture) -> dict[bytes, tuple[Entry | None, Entry | None]]:
    """Return what two pictures do not agree on."""
    return {
        path: (one.get(path), other.get(path))
        for path in one.keys() | other.keys()
        if one.get(path) != other.get(path)
    }
