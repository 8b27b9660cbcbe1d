"""MAKE, an extension: a file with its bytes, mode and times in one request, and in one event.

Else whoever unpacks an archive asks four times for each file, and waits four times for the log.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from api.served import Touched
from api.spockfs.attributes import describe, time_of
from api.spockfs.call import CREATED, Call, Reply, opened
from api.spockfs.content import write_all
from api.spockfs.names import NEW
from api.spockfs.owners import give
from api.threads import Threads

MADE_BYTES_MAX: Final = 2**20
"""Of the body; what is longer is written by PUT."""

Times = tuple[int | None, int | None]
"""Of last access and last change, nanoseconds since 1970; None: now."""


async def make(call: Call, threads: Threads) -> Reply:
    """Make a file with the bytes of the body.

    X-Spock-mode is needed; X-Spock-atime and X-Spock-mtime are the times of the file, if they are
    given. What is there already is an error, unless X-Spock-flag is there without O_EXCL: then it
    is replaced, as by O_TRUNC.

    Args:
        call: the request.
        threads: where the change is made unless somebody else makes it.
    """
    bits = call.bits()
    times = (time_of(call, b"atime"), time_of(call, b"mtime"))
    is_new = bool(call.fields.number(b"x-spock-flag", os.O_EXCL) & os.O_EXCL)
    made: list[os.stat_result] = []

    def act() -> list[Touched]:
        with _file(call, bits, is_new=is_new) as fd:
            write_all(fd, call.body, 0)
            _set_times(fd, times)
            made.append(os.fstat(fd))
        return [(call.path, "written")]

    # To wait in a thread for each would cost as much as the rest of it.
    begun = call.mount.begin(act, (call.path,), call.author)
    if begun is None:
        await threads.run(lambda: call.mount.change(act, (call.path,), call.author))
    else:
        await asyncio.wrap_future(begun)
    told = describe(made[-1], call.fields) if b"x-spock-attr" in call.fields else ()
    return Reply(CREATED.status, told)


@contextmanager
def _file(call: Call, bits: int, *, is_new: bool) -> Iterator[int]:
    """Lend a descriptor of a file without bytes; if that fails, nothing new is left."""
    with call.mount.entry(call.path) as entry:
        try:
            fd = os.open(entry.name, NEW, 0o600, dir_fd=entry.directory)
        except FileExistsError:
            if is_new:
                raise
        else:
            try:
                give(call, fd, entry.directory, bits)
                yield fd
            except BaseException:
                os.unlink(entry.name, dir_fd=entry.directory)
                raise
            finally:
                os.close(fd)
            return
    with opened(call.mount, call.path, os.O_WRONLY | os.O_TRUNC) as fd:
        os.fchmod(fd, bits)
        yield fd


def _set_times(fd: int, times: Times) -> None:
    if times == (None, None):
        return
    found = os.fstat(fd)
    atime = found.st_atime_ns if times[0] is None else times[0]
    mtime = found.st_mtime_ns if times[1] is None else times[1]
    os.utime(fd, ns=(atime, mtime))
