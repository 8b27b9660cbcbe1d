"""Whose a new file or directory is, and who may use it.

Faces run with a mask that keeps what they make to themselves; what clients store is for whoever
may use the directory.
"""

import os
import stat
from typing import Final, NamedTuple

_BITS: Final = 0o7777
_FILE_BITS: Final = 0o666
_DIRECTORY_BITS: Final = 0o2777


class Owned(NamedTuple):
    """Owner and mode.

    Attributes:
        uid, gid: -1 where the server cannot give files away.
        mode: permissions.
    """

    uid: int
    gid: int
    mode: int


def inherited(directory: int, *, is_directory: bool = False) -> Owned:
    """Return what goes with the directory that something is made in.

    Args:
        directory: descriptor of it.
        is_directory: what is made is one, too.
    """
    around = os.fstat(directory)
    return _owned(around, _DIRECTORY_BITS if is_directory else _FILE_BITS)


def taken_over(before: os.stat_result) -> Owned:
    """Return what a new file has that takes the place of an old one.

    Args:
        before: what `lstat` says of the old one.
    """
    return _owned(before, _BITS & ~(stat.S_ISUID | stat.S_ISGID))


def give(fd: int, owned: Owned) -> None:
    """Set owner and mode of what is open.

    Raises:
        OSError: it cannot be.
    """
    if owned.uid >= 0:
        os.fchown(fd, owned.uid, owned.gid)
    os.fchmod(fd, owned.mode)


def _owned(found: os.stat_result, bits: int) -> Owned:
    if os.geteuid() == 0:
        return Owned(found.st_uid, found.st_gid, found.st_mode & bits)
    return Owned(-1, -1, found.st_mode & bits)
