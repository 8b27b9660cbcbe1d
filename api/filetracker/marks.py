"""Digests that files carry with them, in an extended attribute, for lists after a restart.

An attribute costs no memory and no index that could disagree with the disk: it goes where the file
goes, and with it. It counts only as long as size and time of last write are those that it was made
for. Whoever may write to a file could still make it lie, so it is told in lists and believed
nowhere: what decides over contents is computed from their bytes (`digests`).
"""

import contextlib
import errno
import os
import struct
from typing import Final

ATTRIBUTE: Final = "user.nasfeed.sha256"

_FORMAT: Final = struct.Struct("<QQ32s")
"""Size, time of last write in nanoseconds, digest. ext4 has room for that within an inode of the
usual 256 bytes, so that it costs no block."""

_IMPOSSIBLE: Final = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EACCES,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.E2BIG,
        errno.ERANGE,
    }
)
"""Why a filesystem takes no attribute; the file is as good without."""


def mark(fd: int, digest: str, mtime_ns: int) -> None:
    """Have a file carry its digest, where the filesystem can.

    Args:
        fd: of the file, all of which is written.
        digest: SHA-256, hexadecimal.
        mtime_ns: time of last write that it will have, nanoseconds since 1970.

    Raises:
        OSError: the disk is in trouble.
    """
    value = _FORMAT.pack(os.fstat(fd).st_size, mtime_ns, bytes.fromhex(digest))
    try:
        os.setxattr(fd, ATTRIBUTE, value)
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise


def marked(directory: int, name: bytes, found: os.stat_result) -> str:
    """Return the digest that a file carries, hexadecimal; empty when it carries none of its own.

    Args:
        directory: descriptor of the directory that it is in.
        name: in it.
        found: what `lstat` says of it.
    """
    value = b""
    with contextlib.suppress(OSError):  # none, none here, gone: all the same for a list
        path = b"/proc/self/fd/%d/%b" % (directory, name)
        value = os.getxattr(path, ATTRIBUTE, follow_symlinks=False)
    if len(value) != _FORMAT.size:
        return ""
    size, mtime_ns, digest = _FORMAT.unpack(value)
    return digest.hex() if (size, mtime_ns) == (found.st_size, found.st_mtime_ns) else ""
