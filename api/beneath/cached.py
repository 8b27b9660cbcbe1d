"""Reads that never wait for a disk, so that the event loop may make them."""

import ctypes
import os
import resource
from typing import Final

CACHESTAT: Final = 451
"""Number of the system call, the same on all architectures (asm-generic/unistd.h)."""

_PAGE_BYTES: Final = resource.getpagesize()

_libc = ctypes.CDLL(None)
_libc.syscall.restype = ctypes.c_long


class _Range(ctypes.Structure):
    """`struct cachestat_range` of linux/mman.h."""

    _fields_ = (("off", ctypes.c_uint64), ("len", ctypes.c_uint64))


class _Found(ctypes.Structure):
    """`struct cachestat` of linux/mman.h."""

    _fields_ = (
        ("nr_cache", ctypes.c_uint64),
        ("nr_dirty", ctypes.c_uint64),
        ("nr_writeback", ctypes.c_uint64),
        ("nr_evicted", ctypes.c_uint64),
        ("nr_recently_evicted", ctypes.c_uint64),
    )


def read_cached(fd: int, size: int, start: int) -> bytes | None:
    """Read bytes of a file if all of them are in memory; None when a disk would have to be asked.

    See preadv2(2), RWF_NOWAIT.
    """
    data = bytearray(size)
    try:
        count = os.preadv(fd, [data], start, os.RWF_NOWAIT)
    except OSError:
        return None  # not in memory; or a filesystem that cannot tell; or it is asked again
    return bytes(data) if count == size else None


def is_cached(fd: int, size: int, start: int) -> bool:
    """Say whether bytes of a file are in memory and can be had at once; False if nobody can tell.

    See cachestat(2), since Linux 6.5; the kernel tells only those who might write to the file. A
    network filesystem asks its server before it gives what is in memory, and takes no RWF_NOWAIT.

    Args:
        fd: the file.
        size: bytes, at least one.
        start: where they begin.
    """
    pages = (start + size - 1) // _PAGE_BYTES - start // _PAGE_BYTES + 1
    found = _Found()
    failed = _libc.syscall(
        ctypes.c_long(CACHESTAT),
        ctypes.c_int(fd),
        ctypes.byref(_Range(start, size)),
        ctypes.byref(found),
        ctypes.c_uint(0),
    )
    return not failed and found.nr_cache >= pages and read_cached(fd, 1, start) is not None
