"""MAKE, an extension: a file with its bytes, mode and times in one request, and in one event.

Else whoever unpacks an archive asks four times for each file, and waits four times for the log.
"""

import asyncio
import errno
import os
from typing import Final, NamedTuple

from api.served import Touched
from api.spockfs.again import HALF_FILE, is_again, is_half_made, is_made
from api.spockfs.attributes import describe, time_of
from api.spockfs.call import CREATED, Call, Reply, opened
from api.spockfs.content import write_all
from api.spockfs.names import NEW
from api.spockfs.owners import own
from api.threads import Threads

MADE_BYTES_MAX: Final = 2**20
"""Of the body; what is longer is written by PUT."""


class _Wanted(NamedTuple):
    """How a file is to be.

    Attributes:
        bits: its permissions.
        atime, mtime: of last access and last change, nanoseconds since 1970; None: now.
    """

    bits: int
    atime: int | None
    mtime: int | None


async def make(call: Call, threads: Threads) -> Reply:
    """Make a file with the bytes of the body.

    X-Spock-mode is needed; X-Spock-atime and X-Spock-mtime are the times of the file, if they are
    given. What is there already is an error, unless X-Spock-flag is there without O_EXCL: then it
    is replaced, as by O_TRUNC. With X-Spock-again it is an error unless it is the same; see
    `api.spockfs.again`.

    Args:
        call: the request.
        threads: where the change is made unless somebody else makes it.
    """
    wanted = _Wanted(call.bits(), time_of(call, b"atime"), time_of(call, b"mtime"))
    is_new = bool(call.fields.number(b"x-spock-flag", os.O_EXCL) & os.O_EXCL)
    made: list[os.stat_result] = []

    def act() -> list[Touched]:
        made.append(_make(call, wanted, is_new=is_new))
        return [(call.path, "written")]

    # To wait in a thread for each would cost as much as the rest of it.
    begun = call.mount.begin(act, (call.path,), call.author)
    if begun is None:
        await threads.run(lambda: call.mount.change(act, (call.path,), call.author))
    else:
        await asyncio.wrap_future(begun)
    told = describe(made[-1], call.fields) if b"x-spock-attr" in call.fields else ()
    return Reply(CREATED.status, told)


def _make(call: Call, wanted: _Wanted, *, is_new: bool) -> os.stat_result:
    """Make a file; if that fails, nothing new is left."""
    with call.mount.entry(call.path) as entry:
        try:
            fd = os.open(entry.name, NEW, HALF_FILE, dir_fd=entry.directory)
        except FileExistsError:
            if is_again(call):
                return _make_again(call, wanted, entry.directory)
            if is_new:
                raise
        else:
            try:
                own(call, fd, entry.directory)
                return _fill(fd, call.body, wanted)
            except BaseException:
                os.unlink(entry.name, dir_fd=entry.directory)
                raise
            finally:
                os.close(fd)
    with opened(call.mount, call.path, os.O_WRONLY | os.O_TRUNC) as fd:
        os.fchmod(fd, HALF_FILE)
        return _fill(fd, call.body, wanted)


def _make_again(call: Call, wanted: _Wanted, directory: int) -> os.stat_result:
    """Leave what is made already, complete what is half made, and refuse to touch anything else."""
    with opened(call.mount, call.path, os.O_RDONLY) as fd:
        if is_made(fd, call, wanted.bits, wanted.mtime):
            return os.fstat(fd)
        if not is_half_made(fd, call):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    with opened(call.mount, call.path, os.O_WRONLY) as fd:
        own(call, fd, directory)
        return _fill(fd, call.body, wanted)


def _fill(fd: int, data: bytes, wanted: _Wanted) -> os.stat_result:
    """Write to a file, and last give it the permissions that say that it is complete."""
    write_all(fd, data, 0)
    if (wanted.atime, wanted.mtime) != (None, None):
        found = os.fstat(fd)
        atime = found.st_atime_ns if wanted.atime is None else wanted.atime
        mtime = found.st_mtime_ns if wanted.mtime is None else wanted.mtime
        os.utime(fd, ns=(atime, mtime))
    os.fchmod(fd, wanted.bits)
    return os.fstat(fd)
