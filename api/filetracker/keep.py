"""What was replaced or deleted: every version of every file, content kept by its digest.

Below the server's own directory of a root there are

- `versions/blobs/ab/abcd…`: a content, named by its SHA-256;
- `versions/paths/12/1234…/`: one directory for each path, named by the SHA-256 of the path, in it
  the path itself in the file `path`, and for each version an empty file
  `VERSION.KEPT.SIZE.DIGEST` (seconds, microseconds since 1970, bytes, hexadecimal).

A content comes there when it loses its place: its own file is then linked to, which costs nothing,
because no other name of it is left by which anyone could write to it. Where it has other names, or
the filesystem has no links, it is copied, and shares blocks with the original if it can.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Final, NamedTuple

from api.beneath.root import Beneath, Entry
from api.beneath.staging import OWN, Staging
from api.filetracker.digests import Digests

VERSIONS: Final = OWN + b"/versions"
BLOBS: Final = VERSIONS + b"/blobs"
PATHS: Final = VERSIONS + b"/paths"

PATH_FILE: Final = b"path"
_LOCK_FILE: Final = b"lock"
_FICLONE: Final = 0x40049409
"""_IOW(0x94, 9, int) of linux/fs.h: share the blocks of a file (ioctl_ficlone(2))."""

_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK, errno.ENOSYS)
_PIECE: Final = 2**20


class Kept(NamedTuple):
    """A version that was replaced or deleted.

    Attributes:
        version: seconds since 1970.
        kept_us: when it lost its place, microseconds since 1970.
        size: bytes.
        digest: SHA-256, hexadecimal.
    """

    version: int
    kept_us: int
    size: int
    digest: str

    @property
    def name(self) -> bytes:
        """Name of its file."""
        return b"%d.%d.%d.%b" % (self.version, self.kept_us, self.size, self.digest.encode())


def parse_kept(name: bytes) -> Kept | None:
    """Read the name of a version's file; None when it is none."""
    parts = name.split(b".")
    try:
        version, kept_us, size, digest = parts
        return Kept(int(version), int(kept_us), int(size), digest.decode())
    except ValueError:
        return None


class ChangedError(Exception):
    """A file is not the one that preparations were made for."""


class Keeper:
    """Keeps versions beneath a root.

    Args:
        beneath: access to the root.
        staging: makes new files there.
        digests: shared with whoever writes files.
        keep_max: versions of a path that are kept; None for all.
    """

    def __init__(
        self, beneath: Beneath, staging: Staging, digests: Digests, keep_max: int | None
    ) -> None:
        self._beneath = beneath
        self._staging = staging
        self._digests = digests
        self._keep_max = keep_max
        self._linkless: set[int] = set()  # filesystems from which nothing can be linked

    def prepare(self, path: bytes) -> None:
        """Do what takes long about the file at a path, before it loses its place.

        Raises:
            OSError: it cannot be read, or not be copied.
        """
        try:
            fd = self._beneath.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return
            digest = self._digests.read(fd)
            if self._must_copy(os.fstat(fd)):
                self._copy(fd, digest)
        finally:
            os.close(fd)

    def is_ready(self, found: os.stat_result | None) -> bool:
        """Say whether `prepare` has nothing to do.

        Args:
            found: what `lstat` says of what is about to lose its place; None: nothing is there.
        """
        if found is None or not stat.S_ISREG(found.st_mode):
            return True
        return self._digests.get(found) is not None and not self._must_copy(found)

    def keep(self, path: bytes, found: os.stat_result, version: int, now_us: int) -> bool:
        """Keep the file at a path, which is about to lose its place.

        Args:
            path: of the file.
            found: what `lstat` says of it.
            version: of it, seconds since 1970.
            now_us: the time of day, microseconds since 1970.

        Returns:
            Whether its content was not kept before.

        Raises:
            ChangedError: it was not prepared: somebody has written to it. Nothing was done.
            OSError: it cannot be kept.
        """
        digest = self._digests.get(found)
        if digest is None or self._keep_max == 0:
            if digest is None:
                raise ChangedError
            return False
        with self._locked(fcntl.LOCK_SH):
            is_new = self._store(path, found, digest)
            self._note(path, Kept(version, now_us, found.st_size, digest))
        return is_new

    def versions(self, path: bytes) -> list[Kept]:
        """Return the versions that are kept of a path, the newest first."""
        try:
            with self._beneath.directory(directory_of(path)) as fd, os.scandir(fd) as entries:
                names = [os.fsencode(entry.name) for entry in entries]
        except FileNotFoundError:
            return []
        return sorted(filter(None, map(parse_kept, names)), reverse=True)

    def open(self, kept: Kept) -> int:
        """Open the content of a version.

        Returns:
            A descriptor, to be closed by the caller.

        Raises:
            OSError: it is not there.
        """
        return self._beneath.open(blob_of(kept.digest), os.O_RDONLY)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Hold off whoever keeps a version, for as long as contents are removed."""
        with self._locked(fcntl.LOCK_EX):
            yield

    def _store(self, path: bytes, found: os.stat_result, digest: str) -> bool:
        """Give the content its name; returns whether it had none."""
        blob = blob_of(digest)
        self._beneath.make_directories(blob.rpartition(b"/")[0], durable=False)
        with self._beneath.entry(blob) as there:
            try:
                os.utime(there.name, dir_fd=there.directory, follow_symlinks=False)
            except FileNotFoundError:
                if self._must_copy(found):
                    raise ChangedError from None  # to be copied first
            else:
                return False  # and those who collect see that it is used again
            with self._beneath.entry(path) as here:
                self._link(here, there, found.st_dev)
        return True

    def _must_copy(self, found: os.stat_result) -> bool:
        return found.st_nlink > 1 or found.st_dev in self._linkless

    def _link(self, here: Entry, there: Entry, device: int) -> None:
        try:
            os.link(
                here.name,
                there.name,
                src_dir_fd=here.directory,
                dst_dir_fd=there.directory,
                follow_symlinks=False,
            )
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._linkless.add(device)
            raise ChangedError from error  # to be copied first

    def _note(self, path: bytes, kept: Kept) -> None:
        directory = directory_of(path)
        self._beneath.make_directories(directory, durable=False)
        with self._beneath.directory(directory) as fd:
            _touch(fd, PATH_FILE, path)
            _touch(fd, kept.name)
            if self._keep_max is None:
                return
            for old in self.versions(path)[self._keep_max :]:
                os.unlink(old.name, dir_fd=fd)

    def _copy(self, fd: int, digest: str) -> None:
        """Copy a file to where its content is kept, unless it is there."""
        blob = blob_of(digest)
        with contextlib.suppress(FileNotFoundError):
            self._beneath.stat(blob)
            return
        self._staging.ensure()
        self._beneath.make_directories(blob.rpartition(b"/")[0], durable=False)
        with self._staging.new_file(blob) as new:
            copy_content(fd, new.fd)
            if Digests().read(new.fd) != digest:
                raise ChangedError
            new.finish(os.fstat(fd).st_mtime_ns)
            with self._beneath.entry(blob) as entry:
                new.place(entry.directory, entry.name)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold the lock that those who keep share, and those who collect have for themselves."""
        self._staging.ensure()
        self._beneath.make_directories(VERSIONS, durable=False)
        flags = os.O_RDWR | os.O_CREAT
        fd = self._beneath.open(VERSIONS + b"/" + _LOCK_FILE, flags, 0o600)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)


def directory_of(path: bytes) -> bytes:
    """Return the directory of the versions of a path."""
    name = hashlib.sha256(path).hexdigest().encode()
    return b"%b/%b/%b" % (PATHS, name[:2], name)


def blob_of(digest: str) -> bytes:
    """Return where the content of a digest is kept."""
    name = digest.encode()
    return b"%b/%b/%b" % (BLOBS, name[:2], name)


def copy_content(source: int, target: int) -> None:
    """Copy all of an open file into an empty one, by sharing its blocks where that can be done.

    Raises:
        OSError: it cannot be.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        start = 0
        while piece := os.pread(source, _PIECE, start):
            os.pwrite(target, piece, start)
            start += len(piece)


def _touch(directory: int, name: bytes, content: bytes = b"") -> None:
    """Make a small file if it is missing, or was left empty by a server that was killed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, 0o600, dir_fd=directory)
    try:
        if content and os.fstat(fd).st_size != len(content):
            os.pwrite(fd, content, 0)
    finally:
        os.close(fd)
