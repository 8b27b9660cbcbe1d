"""Reads open files by blocks and hashes them."""

import hashlib
import os

from watcher.metadata.brake import Brake

BLOCK_BYTES = 1 << 20
"""As much as libmagic looks at by default, so that the first block is all it waits for."""
_LARGE_BYTES = 32 << 20
"""From this size on a file would push what others use out of the page cache."""


class LengthError(Exception):
    """A file has more or fewer bytes than its size says."""


class Reader:
    """Reads one file after another into the same block.

    Args:
        brake: holds it back.
    """

    def __init__(self, brake: Brake | None = None) -> None:
        self._brake = brake or Brake()
        self._block = bytearray(BLOCK_BYTES)
        self._view = memoryview(self._block)
        self._count = 0

    def begin(self, fd: int) -> None:
        """Read the first block of a file, and so wait for the disk, which may have to spin up.

        Raises:
            OSError: it cannot be read.
        """
        self._count = os.preadv(fd, (self._block,), 0)
        self._brake.hold(self._count)

    def md5(self, fd: int, size: int) -> bytes:
        """Hash a file of which `begin` has read the first block.

        Args:
            fd: of the file; its offset is neither used nor changed.
            size: how many bytes it is said to have.

        Returns:
            The digest, 16 bytes.

        Raises:
            LengthError: it has more or fewer; reading stops soon after `size`, as a file that
                grows for as long as it is read has no end.
            OSError: it cannot be read.
        """
        digest = hashlib.md5(self._view[: self._count], usedforsecurity=False)
        done = self._count
        while self._count == BLOCK_BYTES and done <= size:
            self._count = os.preadv(fd, (self._block,), done)
            self._brake.hold(self._count)
            digest.update(self._view[: self._count])
            done += self._count
            if size >= _LARGE_BYTES:
                os.posix_fadvise(fd, 0, done, os.POSIX_FADV_DONTNEED)
        if done != size:
            raise LengthError(f"read {done} bytes of a file of {size}")
        return digest.digest()
