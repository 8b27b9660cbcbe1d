"""Reads that never wait for a disk, so that the event loop may make them."""

import os


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
