"""Bytes of uploads on the disk, beside the files of their root, until they are whole.

Each part of an upload is a file of its own, named by the upload's random key. A part grows only at
its end, and what is acknowledged is synced. The origin is renamed to its place when it is whole;
the thumbnails that a client made stay here as long as their file is there.
"""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Final, Self

from api.beneath.paths import NAME_MAX
from api.beneath.root import adopt
from api.beneath.staging import OWN
from api.library.call import Place
from api.library.names import free_name
from api.library.wire import BAD_PARAMETER, LibraryError
from api.served import RootUnavailableError, Touched
from eventlog.library import Part

UPLOADS: Final = OWN + b"/uploads"

THUMBNAIL_MAX: Final = 16 * 2**20
"""Bytes of a thumbnail that a client made."""

_FILE: Final = re.compile(rb"([0-9a-f]{32})\.(origin|thumb|screen)")
_READ_BYTES: Final = 2**20
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Parcel:
    """A part of an upload that is being written. Used as a context manager.

    Args:
        place: the root.
        key: of the upload.
        part: which part.
        most: bytes that it may have.
        begin: where to go on; what is there behind it is dropped.

    Raises:
        LibraryError: there are not so many bytes yet.
        OSError: nothing can be written.
    """

    def __init__(self, place: Place, key: str, part: Part, most: int, begin: int) -> None:
        self._most = most
        with _directory(place) as fd:
            self.fd = os.open(_name(key, part), _FLAGS, 0o600, dir_fd=fd)
        self.size = os.fstat(self.fd).st_size
        if not 0 <= begin <= self.size:
            os.close(self.fd)
            raise LibraryError(BAD_PARAMETER)
        if begin < self.size:
            os.ftruncate(self.fd, begin)
        self.size = begin

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def append(self, data: bytes) -> None:
        """Write more.

        Raises:
            LibraryError: it would be more than was announced; nothing of it is written.
            OSError: it could not be written.
        """
        if self.size + len(data) > self._most:
            raise LibraryError(BAD_PARAMETER)
        view = memoryview(data)
        while view:
            written = os.pwrite(self.fd, view, self.size)
            self.size += written
            view = view[written:]

    def sync(self) -> int:
        """Have all of it on the disk; return how many bytes there are."""
        os.fsync(self.fd)
        return self.size

    def digest(self, kind: str) -> str:
        """Return a digest of all of it, hexadecimal.

        Args:
            kind: `sha1` or `md5`.
        """
        found, start = hashlib.new(kind, usedforsecurity=False), 0
        while data := os.pread(self.fd, _READ_BYTES, start):
            found.update(data)
            start += len(data)
        return found.hexdigest()


def open_part(place: Place, key: str, part: Part) -> int | None:
    """Open a part for reading, or return None when there is none."""
    try:
        return place.beneath.open(UPLOADS + b"/" + _name(key, part), os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None


def sizes(place: Place, key: str) -> tuple[int, int, int]:
    """Return how many bytes of each part are there."""
    found = []
    for part in Part:
        try:
            found.append(place.beneath.stat(UPLOADS + b"/" + _name(key, part)).st_size)
        except (FileNotFoundError, NotADirectoryError):
            found.append(0)
    return found[0], found[1], found[2]


def settle(
    place: Place, key: str, above: bytes, name: str, mtime_ns: int | None
) -> tuple[bytes, Sequence[Touched]]:
    """Give a whole origin its place in a directory; on the observer's thread.

    Args:
        place: the root.
        key: of the upload.
        above: path of the directory.
        name: what the file is to be called.
        mtime_ns: time of last change, nanoseconds since 1970 UTC; None: now.

    Returns:
        Its path, and what was touched.
    """
    with place.beneath.pinned(), _directory(place) as own, place.beneath.directory(above) as fd:
        taken = {os.fsencode(each) for each in os.listdir(fd)}  # noqa: PTH208 - of a descriptor
        hides = lambda each: place.root.hides(b"%b/%b" % (above, each) if above else each)  # noqa: E731 - of this place
        free = free_name(name, "file", taken, hides)
        origin = _name(key, Part.ORIGIN)
        file = os.open(origin, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=own)
        try:
            adopt(file, fd)
            if mtime_ns is not None:
                os.utime(file, ns=(mtime_ns, mtime_ns))
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(origin, free, src_dir_fd=own, dst_dir_fd=fd)
        os.fsync(fd)
        os.fsync(own)
    path = b"%b/%b" % (above, free) if above else free
    assert len(free) <= NAME_MAX
    return path, [(path, "written")]


def discard(place: Place, key: str) -> None:
    """Remove all parts of an upload."""
    for part in Part:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            place.beneath.unlink(UPLOADS + b"/" + _name(key, part))


def keys(place: Place) -> set[str]:
    """Return the keys of all uploads of which there is anything; none of a root that is away."""
    with (
        contextlib.suppress(FileNotFoundError, RootUnavailableError),
        place.beneath.directory(UPLOADS) as fd,
    ):
        names = map(os.fsencode, os.listdir(fd))  # noqa: PTH208 - of a descriptor
        return {match[1].decode() for match in map(_FILE.fullmatch, names) if match}
    return set()


@contextlib.contextmanager
def _directory(place: Place) -> Iterator[int]:
    """Lend the directory of uploads, made if it is missing."""
    try:
        fd = place.beneath.open(UPLOADS, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        place.staging.ensure()
        with contextlib.suppress(FileExistsError), place.beneath.entry(UPLOADS) as entry:
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
        fd = place.beneath.open(UPLOADS, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert stat.S_ISDIR(os.fstat(fd).st_mode)
        yield fd
    finally:
        os.close(fd)


def _name(key: str, part: Part) -> bytes:
    return f"{key}.{part.name.lower()}".encode()
