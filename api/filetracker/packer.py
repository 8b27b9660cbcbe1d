"""Gives clients that take gzip the compressed bytes of a file, where there are any."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from api.files.codings import packed_etag
from api.filetracker.digests import Digests
from api.filetracker.packed import Packed
from api.filetracker.stored import Stored
from api.served import RootUnavailableError

SMALL_BYTES: Final = 256
"""Files below this are not worth it."""

NOW_BYTES: Final = 2**22
"""Files up to this are compressed while the client waits, a tenth of a second or so. For larger
ones it is done in the background, and until then they are sent as they are."""

LARGE_FACTOR: Final = 4
"""Files larger than that many times all compressed ones together are always sent as they are."""

WAITING_MAX: Final = 16
"""Large files that wait to be compressed; each is open. Others are offered again by who asks."""


class Packer:
    """Chooses between the plain and the compressed bytes of files.

    Args:
        digests: of the plain ones; only what this server computed itself counts.
        packed: keeps the compressed ones.
    """

    def __init__(self, digests: Digests, packed: Packed) -> None:
        self._digests = digests
        self._packed = packed
        self._later = ThreadPoolExecutor(1, thread_name_prefix="filetracker gzip")
        self._places = threading.Semaphore(WAITING_MAX)

    def close(self) -> None:
        """Give up what is being compressed."""
        self._packed.stop()
        self._later.shutdown(cancel_futures=True)

    def choose(self, stored: Stored) -> Stored:
        """Return the compressed bytes of a file, or the plain ones.

        Args:
            stored: the plain ones; closed when others are returned.

        Raises:
            OSError: the disk is in trouble.
        """
        if not self._is_worth_it(stored.size):
            return stored
        if stored.size > NOW_BYTES and self._size(stored) is None:
            self._submit(stored.fd)
            return stored
        digest = stored.digest or self._digests.read(stored.fd)
        fd = self._open(stored.fd, digest)
        if fd is None:
            return stored._replace(digest=digest)
        os.close(stored.fd)
        return as_packed(stored._replace(digest=digest), fd)

    def choose_cached(self, stored: Stored) -> Stored | None:
        """Do the same without asking a disk; None when it would have to be asked."""
        if not self._is_worth_it(stored.size):
            return stored
        if stored.digest is None:
            return None
        size = self._packed.size(stored.digest, cached=True)
        if not size:
            return None if size is None else stored
        try:
            fd = self._packed.open(stored.digest, cached=True)
        except (OSError, RootUnavailableError):
            return None  # whoever waits for the disk meets it again
        return None if fd is None else as_packed(stored, fd)

    def _open(self, plain: int, digest: str) -> int | None:
        for _ in range(2):  # what is known may have been removed by others
            if self._packed.size(digest) is None:
                self._packed.make(plain, digest)
            if not self._packed.size(digest):
                return None
            fd = self._packed.open(digest)
            if fd is not None:
                return fd
        return None

    def _is_worth_it(self, size: int) -> bool:
        return SMALL_BYTES <= size <= LARGE_FACTOR * self._packed.bytes_max

    def _size(self, stored: Stored) -> int | None:
        return None if stored.digest is None else self._packed.size(stored.digest)

    def _submit(self, fd: int) -> None:
        """Have a large file compressed some time."""
        if self._places.acquire(blocking=False):
            own = os.dup(fd)
            future = self._later.submit(lambda: self._work(own))
            future.add_done_callback(lambda _: self._end(own))

    def _work(self, fd: int) -> None:
        digest = self._digests.read(fd)
        if self._packed.size(digest) is None:
            self._packed.make(fd, digest)

    def _end(self, fd: int) -> None:
        os.close(fd)
        self._places.release()


def as_packed(stored: Stored, fd: int) -> Stored:
    """Return a file as its compressed bytes.

    Args:
        stored: the plain ones.
        fd: of the compressed ones.
    """
    found = os.fstat(fd)
    etag = packed_etag(stored.etag, found)
    return Stored(fd, found.st_size, stored.version, etag, stored.digest, stored.size)
