"""REMOVE, an extension: many names of one directory in one request, and one step of the log.

Else whoever removes a tree waits for the log once for each file in it. The body has a line for each
name, percent-encoded; after a blank the inode number of what is meant, and after another the time
of its last change in nanoseconds: nothing else that has the name by now is removed. The answer has
a line for each: 0, or the name of an error.
"""

import asyncio
import errno
import os
import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from api.served import Touched
from api.spockfs.call import Call, Reply
from api.spockfs.errors import Refusal, refusal_of
from api.threads import Threads

BODY_BYTES_MAX: Final = 2**19
NAMES_MAX: Final = 1_000

DONE: Final = "0"

_LINE: Final = re.compile(rb"(\S+)(?: ([0-9]{1,20})(?: (-?[0-9]{1,20}))?)?")


class _Doomed(NamedTuple):
    """A name.

    Attributes:
        name: in the directory, raw.
        path: in the mount's root.
        inode: of what is meant; None: whatever is there.
        mtime: of what is meant, nanoseconds since 1970; None: any.
    """

    name: bytes
    path: bytes
    inode: int | None
    mtime: int | None


async def remove(call: Call, threads: Threads) -> Reply:
    """Remove names that are no directories.

    Args:
        call: the request, for the directory.
        threads: where the change is made unless somebody else makes it.
    """
    doomed = [_parsed(call, line) for line in call.body.splitlines()]
    if len(doomed) > NAMES_MAX:
        raise Refusal(errno.E2BIG, f"no more than {NAMES_MAX} names are removed at once")
    told: list[str] = []

    def act() -> list[Touched]:
        with call.mount.beneath.directory(call.path) as fd:
            told.extend(_remove(fd, one) for one in doomed)
        done = [one.path for one, how in zip(doomed, told, strict=True) if how == DONE]
        return [(path, "removed") for path in done]

    about = tuple(one.path for one in doomed)
    begun = call.mount.begin(act, about, call.author)
    if begun is None:
        await threads.run(lambda: call.mount.change(act, about, call.author))
    else:
        await asyncio.wrap_future(begun)
    return Reply(body="".join(f"{how}\n" for how in told).encode())


def _parsed(call: Call, line: bytes) -> _Doomed:
    found = _LINE.fullmatch(line)
    if found is None:
        raise Refusal(errno.EINVAL, "a line must have a name, an inode number and a time at most")
    name, inode, mtime = unquote_to_bytes(found[1]), found[2], found[3]
    if b"/" in name:
        raise Refusal(errno.EINVAL, "a name cannot contain a slash")
    below = call.path[len(call.mount.base) :]
    place = call.mounts.find(b"/".join([b"", *call.mount.point, below, name]))
    if place.path == call.path or place.mount is not call.mount:
        raise Refusal(errno.EBUSY, "this is a mount point")
    meant = None if inode is None else int(inode)
    return _Doomed(name, place.path, meant, None if mtime is None else int(mtime))


def _remove(directory: int, one: _Doomed) -> str:
    """Remove a name; returns what is told of it."""
    try:
        if one.inode is not None:
            found = os.lstat(one.name, dir_fd=directory)
            if one.inode != found.st_ino or one.mtime not in (None, found.st_mtime_ns):
                return "ESTALE"
        os.unlink(one.name, dir_fd=directory)
    except OSError as error:
        return refusal_of(error).name
    return DONE
