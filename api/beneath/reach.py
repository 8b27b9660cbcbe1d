"""How far a rename reaches: within one filesystem and one mount of it (rename(2), EXDEV)."""

import ctypes
import os
import re
import struct
from pathlib import Path
from typing import Final

from api.beneath.paths import join
from api.beneath.root import Beneath

Reach = tuple[int, int]
"""Number of a mount and of a filesystem; two directories with the same can be renamed between."""

_MOUNT: Final = re.compile(r"^mnt_id:\s*(\d+)", re.MULTILINE)


_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_MNT_ID: Final = 0x1000
"""From linux/fcntl.h and linux/stat.h; the last since Linux 5.8."""

_STATX: Final = struct.Struct("=I132xIIQ104x")
"""`struct statx` of linux/stat.h: mask, device (major, minor), and number of the mount."""

# It asks no disk and no other machine, so it need not let go of the interpreter meanwhile.
_libc = ctypes.PyDLL(None)


def reach_of(fd: int) -> Reach:
    """Return within what something in an open directory can be renamed.

    Subvolumes of btrfs are filesystems of their own without being mounted; the same filesystem can
    be mounted twice. So both numbers are needed. See statx(2), and proc_pid_fdinfo(5) for kernels
    that do not say the first there.
    """
    buffer = ctypes.create_string_buffer(_STATX.size)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    if hasattr(_libc, "statx") and not _libc.statx(fd, b"", flags, _STATX_MNT_ID, buffer):
        mask, major, minor, mount = _STATX.unpack(buffer.raw)
        if mask & _STATX_MNT_ID:
            return mount, os.makedev(major, minor)
    return _slowly(fd)


def _slowly(fd: int) -> Reach:
    found = _MOUNT.search(Path(f"/proc/self/fdinfo/{fd}").read_text("ascii"))
    return int(found[1]) if found else 0, os.fstat(fd).st_dev


def uppermost(beneath: Beneath, names: tuple[bytes, ...]) -> bytes:
    """Return the path of the uppermost directory that is within reach of one.

    Args:
        beneath: access to the root.
        names: of the path of a directory, which is there.

    Raises:
        OSError: it is not, or cannot be opened.
    """
    with beneath.directory(join(names)) as fd:
        wanted = reach_of(fd)
    for depth in range(len(names)):
        path = join(names[:depth])
        with beneath.directory(path) as fd:
            if reach_of(fd) == wanted:
                return path
    return join(names)
