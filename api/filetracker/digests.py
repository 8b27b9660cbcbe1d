"""Digests of files, remembered for as long as the files are what they were."""

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Final

REMEMBERED_MAX: Final = 20_000
"""Files whose digest is remembered; about 200 bytes each."""

_PIECE: Final = 2**20

Identity = tuple[int, int, int, int, int]
"""Device, inode, size, and the times of last write and last change of a file."""


def identity_of(found: os.stat_result) -> Identity:
    """Return what changes whenever the bytes of a file do."""
    return (
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


class Digests:
    """SHA-256 digests, computed by this server from what is on the disk, never taken on trust."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Identity, str] = OrderedDict()

    def get(self, found: os.stat_result) -> str | None:
        """Return the digest of a file if it is remembered, hexadecimal."""
        with self._lock:
            return self._known.get(identity_of(found))

    def remember(self, found: os.stat_result, digest: str) -> None:
        """Keep the digest of a file."""
        with self._lock:
            self._known[identity_of(found)] = digest
            while len(self._known) > REMEMBERED_MAX:
                self._known.popitem(last=False)

    def read(self, fd: int) -> str:
        """Return the digest of an open file, and remember it if nobody wrote meanwhile.

        Raises:
            OSError: it cannot be read.
        """
        found = os.fstat(fd)
        known = self.get(found)
        if known is not None:
            return known
        digest = digest_of(fd)
        if identity_of(os.fstat(fd)) == identity_of(found):
            self.remember(found, digest)
        return digest


def digest_of(fd: int) -> str:
    """Return the SHA-256 digest of all of an open file, hexadecimal."""
    hashed, start = hashlib.sha256(), 0
    while piece := os.pread(fd, _PIECE, start):
        hashed.update(piece)
        start += len(piece)
    return hashed.hexdigest()
