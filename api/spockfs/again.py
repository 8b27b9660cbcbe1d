"""Requests that are made again because the answer to the first was lost: X-Spock-again.

A client cannot know whether a server that died has done what it was asked for before, nor whether
somebody else has put something there since. With this extension MAKE, MKDIR and SYMLINK succeed
also when that very thing is there: same kind, permissions, bytes, and the time of the last change
that the client gave, in nanoseconds. Anything else that is there is left alone.

What the server's death has left half made has permissions that nobody else gives.
"""

import os
import stat
from typing import Final

from api.spockfs.call import Call

HALF_FILE: Final = stat.S_ISVTX | 0o600
"""Permissions of a file until it is complete; on files this bit means nothing, see inode(7)."""

HALF_DIRECTORY: Final = stat.S_ISVTX | 0o700

_BITS: Final = 0o7777
_PIECE_BYTES: Final = 2**20


def is_again(call: Call) -> bool:
    """Say whether a request was made before, and perhaps carried out."""
    return b"x-spock-again" in call.fields


def is_made(fd: int, call: Call, bits: int, mtime: int | None) -> bool:
    """Say whether an open file is just what MAKE would make.

    Args:
        fd: of the file.
        call: the request.
        bits: permissions that it asks for.
        mtime: that it asks for, nanoseconds since 1970; None: without that nothing is known.
    """
    found = os.fstat(fd)
    return (
        mtime is not None
        and (found.st_mode & _BITS, found.st_mtime_ns) == (bits, mtime)
        and found.st_size == len(call.body)
        and os.pread(fd, _PIECE_BYTES, 0) == call.body
    )


def is_half_made(fd: int, call: Call) -> bool:
    """Say whether an open file is what MAKE had made of it when the server died."""
    found = os.fstat(fd)
    is_half = found.st_mode & _BITS == HALF_FILE and found.st_size <= len(call.body)
    return is_half and call.body.startswith(os.pread(fd, _PIECE_BYTES, 0))


def is_directory_made(fd: int, bits: int, mtime: int | None) -> bool:
    """Say whether an open directory is just what MKDIR would make; see `is_made`."""
    found = os.fstat(fd)
    return mtime is not None and (found.st_mode & _BITS, found.st_mtime_ns) == (bits, mtime)


def is_directory_half_made(fd: int) -> bool:
    """Say whether an open directory is what MKDIR had made of it when the server died."""
    bits = os.fstat(fd).st_mode & _BITS & ~stat.S_ISGID
    return bits == HALF_DIRECTORY and not os.listdir(fd)
