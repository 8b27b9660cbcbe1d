"""Directories: READDIR, MKDIR, RMDIR."""

import errno
import os
import stat
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote_from_bytes

from api.beneath.root import Entry
from api.served import Touched
from api.spockfs.again import (
    HALF_DIRECTORY,
    is_again,
    is_directory_half_made,
    is_directory_made,
)
from api.spockfs.attributes import time_of
from api.spockfs.call import CREATED, DONE, Call, Reply
from api.spockfs.owners import own

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
    """Make a directory.

    X-Spock-mtime, an extension, is the time of its last change. For X-Spock-again see
    `api.spockfs.again`.
    """
    bits, mtime = call.bits(is_directory=True), time_of(call, b"mtime")

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            is_new = _make(call, entry)
            fd = os.open(entry.name, _OPEN_NEW, dir_fd=entry.directory)
            try:
                wanted = bits | os.fstat(fd).st_mode & stat.S_ISGID
                if is_new or not is_directory_made(fd, wanted, mtime):
                    if not (is_new or is_directory_half_made(fd)):
                        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                    _complete(call, fd, entry.directory, wanted, mtime)
            finally:
                os.close(fd)
        return [(call.path, "changed")]

    call.mount.change(act, (call.path,), call.author)
    return CREATED


def _make(call: Call, entry: Entry) -> bool:
    """Make a directory; False: it may have been made already."""
    try:
        os.mkdir(entry.name, HALF_DIRECTORY, dir_fd=entry.directory)
    except FileExistsError:
        found = os.lstat(entry.name, dir_fd=entry.directory)
        if not (is_again(call) and stat.S_ISDIR(found.st_mode)):
            raise
        return False
    return True


def _complete(call: Call, fd: int, above: int, bits: int, mtime: int | None) -> None:
    own(call, fd, above)
    if mtime is not None:
        os.utime(fd, ns=(os.fstat(fd).st_atime_ns, mtime))
    os.fchmod(fd, bits)


def rmdir(call: Call) -> Reply:
    """Remove an empty directory."""
    call.mount.check_is_no_point(call.path)

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            os.rmdir(entry.name, dir_fd=entry.directory)
        return [(call.path, "removed")]

    call.mount.change(act, (call.path,), call.author)
    return DONE
