"""Compressed contents, so that clients who take gzip cost compression once, not every time.

They lie below the server's own directory of a root, as `gzip/ab/abcd…`, named by the SHA-256 of the
plain content, as this server computed it. The least recently used are removed when there are too
many. All of them can be removed at any time: they are made again.
"""

import contextlib
import hashlib
import logging
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from api.beneath.root import Beneath
from api.beneath.staging import OWN, Staging
from api.served import RootUnavailableError

PACKED: Final = OWN + b"/gzip"

COUNT_MAX: Final = 20_000
"""Contents that are known; about 150 bytes of memory each."""

_PIECE: Final = 2**20
_GZIP: Final = 31
_LEVEL: Final = 6
_WORTH: Final = 0.9
"""What does not become smaller than this is sent as it is."""

_log = logging.getLogger(__name__)


class Packed:
    """Keeps compressed contents beneath a root. Any thread may call.

    Args:
        beneath: access to the root.
        staging: makes new files there.
        bytes_max: that they may take together; 0 for none at all.
    """

    def __init__(self, beneath: Beneath, staging: Staging, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._beneath = beneath
        self._staging = staging
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] | None = None
        self._total = 0
        self._making: set[str] = set()
        self._stopping = False

    def stop(self) -> None:
        """Have what is being compressed given up."""
        self._stopping = True

    def size(self, digest: str, *, cached: bool = False) -> int | None:
        """Return the size of a compressed content, 0 when it is not worth it, None when unknown.

        Args:
            digest: of the plain content, hexadecimal.
            cached: only if no disk is asked.
        """
        with self._lock:
            if cached and self._sizes is None:
                return None
            sizes = self._known()
            if digest in sizes:
                sizes.move_to_end(digest)
            return sizes.get(digest)

    def open(self, digest: str, *, cached: bool = False) -> int | None:
        """Open a compressed content.

        Args:
            digest: of the plain content, hexadecimal.
            cached: only if no disk is asked.

        Returns:
            A descriptor, to be closed by the caller; None when it is not there.
        """
        opening = self._beneath.open_cached if cached else self._beneath.open
        try:
            return opening(_path_of(digest), os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            self._forget(digest)
            return None

    def make(self, fd: int, digest: str) -> None:
        """Compress a content, unless somebody else is at it.

        Args:
            fd: of the plain content.
            digest: of it, hexadecimal.
        """
        with self._lock:
            if digest in self._making:
                return
            self._making.add(digest)
        size: int | None = 0
        try:
            size = self._write(fd, digest)
        except (OSError, RootUnavailableError) as error:
            _log.warning("filetracker: nothing compressed could be kept: %s", error)
        finally:
            with self._lock:
                self._making.discard(digest)
        if size is not None:
            self._remember(digest, size)

    def _write(self, fd: int, digest: str) -> int | None:
        """Write a compressed content.

        Returns:
            Its size, 0 when it was not worth it, None when it was given up or has changed.
        """
        path = _path_of(digest)
        self._staging.ensure()
        self._beneath.make_directories(path.rpartition(b"/")[0], durable=False)
        with self._staging.new_file(path) as new:
            size = self._fill(fd, new.fd, digest)
            if size:
                with self._beneath.entry(path) as entry:
                    new.place(entry.directory, entry.name)
            return size

    def _fill(self, source: int, target: int, digest: str) -> int | None:
        hashed = hashlib.sha256()
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        taken = size = 0
        while not self._stopping:
            piece = os.pread(source, _PIECE, taken)
            taken += len(piece)
            hashed.update(piece)
            size += _write_all(target, packer.compress(piece) if piece else packer.flush())
            if size > min(taken * _WORTH, self.bytes_max):
                return 0  # most that does not shrink at its beginning does not later on
            if not piece:  # somebody else may have written to it since its digest was taken
                return size if hashed.hexdigest() == digest else None
        return None

    def _known(self) -> OrderedDict[str, int]:
        """Return sizes by digest, the least recently used first."""
        if self._sizes is None:
            found = sorted(self._found(), key=lambda each: each[0])
            self._sizes = OrderedDict((digest, size) for _, digest, size in found)
            self._total = sum(self._sizes.values())
        return self._sizes

    def _found(self) -> Iterator[tuple[int, str, int]]:
        """Yield time, digest and size of what an earlier server left."""
        try:
            for above in self._names(PACKED):
                for name in self._names(PACKED + b"/" + above):
                    digest = name.decode("ascii", "replace")
                    found = self._beneath.stat(_path_of(digest))
                    yield found.st_mtime_ns, digest, found.st_size
        except FileNotFoundError:
            return

    def _names(self, path: bytes) -> list[bytes]:
        with self._beneath.directory(path) as fd:
            return [os.fsencode(name) for name in os.listdir(fd)]  # noqa: PTH208 - of a descriptor

    def _remember(self, digest: str, size: int) -> None:
        with self._lock:
            sizes = self._known()
            self._total += size - sizes.get(digest, 0)
            sizes[digest] = size
            sizes.move_to_end(digest)
            while len(sizes) > COUNT_MAX or self._total > self.bytes_max:
                self._remove(*sizes.popitem(last=False))

    def _remove(self, digest: str, size: int) -> None:
        self._total -= size
        if size:
            with contextlib.suppress(FileNotFoundError), self._beneath.entry(_path_of(digest)) as e:
                os.unlink(e.name, dir_fd=e.directory)

    def _forget(self, digest: str) -> None:
        with self._lock:
            self._total -= self._known().pop(digest, 0)


def _path_of(digest: str) -> bytes:
    name = digest.encode()
    return b"%b/%b/%b" % (PACKED, name[:2], name)


def _write_all(fd: int, data: bytes) -> int:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
    return len(data)
