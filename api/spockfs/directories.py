"""Directories: READDIR, MKDIR, RMDIR."""

import os
import stat
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote_from_bytes

from api.served import Touched
from api.spockfs.call import CREATED, DONE, Call, Reply
from api.spockfs.owners import give

PLUS: Final = b"x-spock-plus"
"""Asks for attributes with the names, an extension."""

_OPEN_NEW: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def readdir(call: Call) -> Reply:
    """List a directory: a name on each line.

    A name with a line's end in it would forge another, so it is left out. With X-Spock-plus each
    line has the name percent-encoded, and mode, uid, gid, size, nlink, blocks, dev, ino, rdev, and
    mtime, atime and ctime in nanoseconds, in this order, parted by blanks.
    """
    with call.mount.beneath.directory(call.path) as fd:
        names = [name for name in map(os.fsencode, os.listdir(fd)) if not _is_own(call, name)]  # noqa: PTH208 - of a descriptor
        if PLUS in call.fields:
            lines = list(_described(fd, [b".", *names]))
            return Reply(fields=[(PLUS, b"1")], body=b"".join(lines))
    shown = [name for name in names if b"\n" not in name]
    omitted = len(names) - len(shown)
    told = [(b"x-spock-omitted", b"%d" % omitted)] if omitted else []
    return Reply(fields=told, body=b"\n".join([b".", b"..", *shown, b""]))


def _is_own(call: Call, name: bytes) -> bool:
    return call.mount.is_own(call.path + b"/" + name if call.path else name)


def _described(fd: int, names: list[bytes]) -> Iterator[bytes]:
    for name in names:
        try:
            found = os.lstat(name, dir_fd=fd)
        except FileNotFoundError:
            continue  # it was removed meanwhile
        numbers = (
            found.st_mode,
            found.st_uid,
            found.st_gid,
            found.st_size,
            found.st_nlink,
            found.st_blocks,
            found.st_dev,
            found.st_ino,
            found.st_rdev,
            found.st_mtime_ns,
            found.st_atime_ns,
            found.st_ctime_ns,
        )
        yield f"{quote_from_bytes(name)} {' '.join(map(str, numbers))}\n".encode()


def mkdir(call: Call) -> Reply:
    """Make a directory."""
    bits = call.bits(is_directory=True)

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
            fd = os.open(entry.name, _OPEN_NEW, dir_fd=entry.directory)
            try:
                inherited = os.fstat(fd).st_mode & stat.S_ISGID
                give(call, fd, entry.directory, bits | inherited)
            finally:
                os.close(fd)
        return [(call.path, "changed")]

    call.mount.change(act, (call.path,), call.author)
    return CREATED


def rmdir(call: Call) -> Reply:
    """Remove an empty directory."""
    call.mount.check_is_no_point(call.path)

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            os.rmdir(entry.name, dir_fd=entry.directory)
        return [(call.path, "removed")]

    call.mount.change(act, (call.path,), call.author)
    return DONE
