"""When a file was born: what tells an inode from the next one that gets its number.

ext4 gives the inode of a deleted file to the next one at once, so that an inode number alone
names nothing. The time of birth is only to be had from statx(2), which Python does not offer.
"""

import ctypes
import os
import struct

_AT_SYMLINK_NOFOLLOW = 0x100
_AT_NO_AUTOMOUNT = 0x800
_AT_EMPTY_PATH = 0x1000
_FLAGS = _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT | _AT_EMPTY_PATH
_STATX_BTIME = 0x800

# `struct statx` of linux/stat.h: 256 bytes; stx_mask at 0, stx_btime (s64, u32) at 80.
_STATX_BYTES = 256
_MASK = struct.Struct("I")
_BTIME = struct.Struct("qI")
_BTIME_OFFSET = 80

_NS = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.statx.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_void_p,
)


def birth_ns(dir_fd: int, name: bytes) -> int | None:
    """Return when a file was born.

    Args:
        dir_fd: descriptor of the directory that holds it; O_PATH suffices.
        name: its raw name, which is not followed if it is a symbolic link; empty for what
            `dir_fd` itself is.

    Returns:
        Nanoseconds since 1970 UTC; None where the filesystem does not keep it.

    Raises:
        OSError: as `os.lstat`; FileNotFoundError if there is no such name.
    """
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if _libc.statx(dir_fd, name, _FLAGS, _STATX_BTIME, buffer):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fsdecode(name))
    if not _MASK.unpack_from(buffer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = _BTIME.unpack_from(buffer, _BTIME_OFFSET)
    # Some filesystems claim to know and then say 0.
    return int(seconds) * _NS + int(nanoseconds) or None
