"""Settings of the server's process: how it treats memory and open files."""

import ctypes
import gc
import resource

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3), from malloc.h."""

DESCRIPTORS = 8_192
"""Open files that the process may have, if the system lets it."""


def tune() -> None:
    """Set all that is right for a server, and not for the commands."""
    _collect_less()
    _return_memory()
    _allow_descriptors()


def _collect_less() -> None:
    """Have the cyclic collector pass over modules, and look less often at what scans allocate.

    Scans and pages make many short-lived tuples and next to no cycles; looking for them at the
    default pace costs a tenth of a first scan.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _return_memory() -> None:
    """Have the C library give memory back that pages of the feed needed for a moment.

    By default it learns from large blocks to keep them, and keeps a heap for every thread. Then
    one drain of the feed doubles the server's memory for good. But what the next page needs at
    once is kept: a drain is a sixth slower when it is given back in between. See mallopt(3).
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not in musl, which does not need it
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 8 * 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, 16 * 2**20)


def _allow_descriptors() -> None:
    """Allow as many open files as streams need.

    The usual 1,024 are for programs that call select(2), as this one does not
    (https://0pointer.net/blog/file-descriptor-limits.html).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
