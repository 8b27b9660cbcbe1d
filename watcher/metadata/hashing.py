"""MD5 of an open file, by blocks."""

import hashlib
import os

_BLOCK_BYTES = 1 << 20
"""As much as libmagic reads by default."""
_LARGE_BYTES = 32 << 20
"""From this size on a file would push what others use out of the page cache."""

_block = bytearray(_BLOCK_BYTES)
_view = memoryview(_block)


def read_first_block(fd: int) -> None:
    """Read as much as libmagic looks at, to have waited for the disk before any clock runs.

    Raises:
        OSError: it cannot be read.
    """
    os.preadv(fd, (_block,), 0)


class LengthError(Exception):
    """A file has more or fewer bytes than its size says."""


def md5_of(fd: int, size: int) -> bytes:
    """Hash a file from its first byte.

    Args:
        fd: of the file; its offset is changed.
        size: how many bytes it is said to have.

    Returns:
        The digest, 16 bytes.

    Raises:
        LengthError: it has more or fewer; reading stops soon after `size`, as a file that grows
            for as long as it is read has no end.
        OSError: it cannot be read.
    """
    digest = hashlib.md5(usedforsecurity=False)
    os.lseek(fd, 0, os.SEEK_SET)
    done = 0
    while count := os.readv(fd, (_block,)):
        digest.update(_view[:count])
        done += count
        if done > size:
            break
        if size >= _LARGE_BYTES:
            os.posix_fadvise(fd, done - count, count, os.POSIX_FADV_DONTNEED)
    if done != size:
        raise LengthError(f"read {done} bytes of a file of {size}")
    return digest.digest()
