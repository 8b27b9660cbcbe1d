"""New files beneath a root: written aside, synced, and only then renamed into place.

They are written in a directory of their own, whose name is excluded from the feed, on the same
filesystem. What a killed server leaves there is removed at the next start.
"""

import contextlib
import os
import secrets
import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Self

from api.beneath.paths import join, split
from api.beneath.root import Beneath, adopt, take_after

OWN: Final = b".nasfeed"
"""Directory in a root that belongs to the faces; excluded from the feed, and not to be named."""

STAGING: Final = OWN + b"/staging"

_STRAY: Final = b".__tmp__"
"""End of the names of new files that must be written elsewhere; excluded from the feed, too."""


class NewFile:
    """A file that is being written and has no place yet. Used as a context manager.

    Args:
        directory: descriptor of where it is written; closed in the end.
        name: there; nothing else has it.
        ended: called in the end.

    Attributes:
        fd: a descriptor to write to.
    """

    def __init__(self, directory: int, name: bytes, ended: Callable[[], None]) -> None:
        self._directory = directory
        self._name = name
        self._ended = ended
        self._is_placed = False
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self.fd = os.open(name, flags, 0o600, dir_fd=directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        try:
            if not self._is_placed:
                os.unlink(self._name, dir_fd=self._directory)
        finally:
            os.close(self._directory)
            self._ended()

    def finish(self, mtime_ns: int) -> None:
        """Set the time of last change and have all of it on the disk.

        Args:
            mtime_ns: nanoseconds since 1970 UTC.

        Raises:
            OSError: it may not be on the disk.
        """
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        os.fsync(self.fd)

    def place(self, directory: int, name: bytes) -> None:
        """Rename it to where it belongs, in place of what is there.

        The name is on the disk only when the directory is synced.

        Args:
            directory: descriptor of the directory.
            name: in it.

        Raises:
            OSError: it cannot be.
        """
        try:
            before = os.lstat(name, dir_fd=directory)
        except FileNotFoundError:
            adopt(self.fd, directory)
        else:
            take_after(self.fd, before)
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
        self._is_placed = True


class Staging:
    """Makes new files beneath a root.

    Args:
        beneath: access to the root.
    """

    def __init__(self, beneath: Beneath) -> None:
        self._beneath = beneath
        self._lock = threading.Lock()
        self._live: set[bytes] = set()

    def new_file(self, path: bytes) -> NewFile:
        """Begin a file that is to be placed at a path; the path itself is not touched.

        Raises:
            BadPathError: no client may name such a path.
            OSError: nothing can be written there.
        """
        names = split(path)
        fd = self._nearest(names[:-1])
        name = b"%b%b" % (secrets.token_hex(16).encode(), _STRAY)
        with self._lock:
            self._live.add(name)
        try:
            staging = self._open_staging()
            if os.fstat(staging).st_dev == os.fstat(fd).st_dev:
                fd, staging = staging, fd
            os.close(staging)  # the file is on another filesystem: it is written where it belongs
            return NewFile(fd, name, partial(self._forget, name))
        except OSError:
            os.close(fd)
            self._forget(name)
            raise

    def sweep(self) -> int:
        """Remove what a killed server left. What this one is writing is left alone.

        Returns:
            How many files were removed.
        """
        try:
            fd = self._beneath.open(STAGING, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return 0
        try:
            with os.scandir(fd) as entries:
                names = {os.fsencode(entry.name) for entry in entries}
            with self._lock:
                left = names - self._live
            for name in left:
                with contextlib.suppress(FileNotFoundError):  # it was live when it was listed
                    os.unlink(name, dir_fd=fd)
            return len(left)
        finally:
            os.close(fd)

    def _forget(self, name: bytes) -> None:
        with self._lock:
            self._live.discard(name)

    def ensure(self) -> None:
        """Make the server's own directory, for nobody else's eyes, if it is missing."""
        os.close(self._open_staging())

    def _open_staging(self) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY
        with contextlib.suppress(FileNotFoundError):
            return self._beneath.open(STAGING, flags)
        with self._beneath.top() as top, contextlib.suppress(FileExistsError):
            os.mkdir(OWN, 0o700, dir_fd=top)
        with self._beneath.entry(STAGING) as entry, contextlib.suppress(FileExistsError):
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
        return self._beneath.open(STAGING, flags)

    def _nearest(self, names: tuple[bytes, ...]) -> int:
        """Open the lowest of some directories that is there."""
        while True:
            try:
                return self._beneath.open(join(names), os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                if not names:
                    raise
                names = names[:-1]
