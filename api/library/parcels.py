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
from collections.abc import Iterator
from typing import Final, Self

from api.beneath.owned import give, inherited
from api.beneath.reach import reach_of
from api.beneath.staging import OWN, NewFile
from api.library.call import Place
from api.library.wire import BAD_PARAMETER, LibraryError
from api.served import RootUnavailableError
from eventlog.library import Part

UPLOADS: Final = OWN + b"/uploads"

THUMBNAIL_MAX: Final = 16 * 2**20
"""Bytes of a thumbnail that a client made."""

_FILE: Final = re.compile(rb"([0-9a-f]{32})\.(origin|thumb|screen)")
_READ_BYTES: Final = 2**20
_CLOSED: Final = os.O_CLOEXEC | os.O_NONBLOCK
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | _CLOSED


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


def inode(place: Place, key: str) -> int:
    """Return the inode number of an origin that still waits for its place; 0 for none."""
    try:
        return place.beneath.stat(UPLOADS + b"/" + _name(key, Part.ORIGIN)).st_ino
    except (FileNotFoundError, NotADirectoryError):
        return 0


def drop_origin(place: Place, key: str) -> None:
    """Remove an origin that was copied to its place."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        place.beneath.unlink(UPLOADS + b"/" + _name(key, Part.ORIGIN))


def sizes(place: Place, key: str) -> tuple[int, int, int]:
    """Return how many bytes of each part are there."""
    found = []
    for part in Part:
        try:
            found.append(place.beneath.stat(UPLOADS + b"/" + _name(key, part)).st_size)
        except (FileNotFoundError, NotADirectoryError):
            found.append(0)
    return found[0], found[1], found[2]


class Whole:
    """A whole origin that can be renamed to its place. Used as a context manager.

    On the filesystem of its catalog it is the origin itself, else a copy of it that is written
    there; then the origin stays until it is dropped.

    Args:
        place: the root.
        key: of the upload.
        above: path of the catalog's directory.
        mtime_ns: time of last change, nanoseconds since 1970 UTC; None: now.

    Attributes:
        inode: number of what is renamed.

    Raises:
        FileNotFoundError: there is no origin, or no such directory.
        OSError: it cannot be read, or not be copied.
    """

    def __init__(self, place: Place, key: str, above: bytes, mtime_ns: int | None) -> None:
        self._place = place
        self._origin = _name(key, Part.ORIGIN)
        self._mtime_ns = mtime_ns
        self._new: NewFile | None = None
        with _directory(place) as own, place.beneath.directory(above) as fd:
            self._fd = os.open(self._origin, os.O_RDWR | os.O_NOFOLLOW | _CLOSED, dir_fd=own)
            is_near = reach_of(own) == reach_of(fd)
        try:
            if not is_near:
                self._new = self._copy(above)
        except BaseException:
            os.close(self._fd)
            raise
        self.inode = os.fstat(self._new.fd if self._new else self._fd).st_ino

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)
        if self._new is not None:
            self._new.__exit__(*error)

    def rename(self, directory: int, name: bytes) -> None:
        """Give it its place, durably; on the observer's thread.

        Args:
            directory: descriptor of the catalog's directory.
            name: in it; free.

        Raises:
            OSError: it cannot be.
        """
        if self._new is not None:
            self._new.place(directory, name)
        else:
            give(self._fd, inherited(directory))
            if self._mtime_ns is not None:
                os.utime(self._fd, ns=(self._mtime_ns, self._mtime_ns))
            os.fsync(self._fd)
            with _directory(self._place) as own:
                os.rename(self._origin, name, src_dir_fd=own, dst_dir_fd=directory)
                os.fsync(own)
        os.fsync(directory)

    def _copy(self, above: bytes) -> NewFile:
        new = self._place.staging.new_file(above + b"/" + self._origin)
        try:
            size = os.fstat(self._fd).st_size
            start = 0
            while start < size:
                data = os.pread(self._fd, _READ_BYTES, start)
                start += os.pwrite(new.fd, data, start)
            mtime_ns = os.fstat(self._fd).st_mtime_ns
            new.finish(mtime_ns if self._mtime_ns is None else self._mtime_ns)
        except BaseException:
            new.__exit__()
            raise
        return new


def placed(place: Place, above: bytes, inode: int, size: int) -> bytes | None:
    """Return the path of a file in a directory by its inode number, or None.

    Args:
        place: the root.
        above: path of the directory.
        inode: of the file.
        size: that it must have, bytes.
    """
    with (
        contextlib.suppress(FileNotFoundError, NotADirectoryError),
        place.beneath.directory(above) as fd,
        os.scandir(fd) as entries,
    ):
        for entry in entries:
            if entry.inode() == inode and entry.stat(follow_symlinks=False).st_size == size:
                name = os.fsencode(entry.name)
                return above + b"/" + name if above else name
    return None


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
