"""What faces do with files beneath a root. Every path is relative and raw bytes."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from api.beneath.owned import give, inherited
from api.beneath.paths import BadPathError, join, pieces, split
from api.beneath.resolve import Resolver

OpenRoot = Callable[[], int]
"""Opens the directory itself, and makes sure that it is the right one; the caller closes it."""


class Entry(NamedTuple):
    """A place to work at: an open directory and a name in it.

    Attributes:
        directory: a descriptor, valid as long as whoever lent it says.
        name: raw.
    """

    directory: int
    name: bytes


class _Pin(threading.local):
    """The directory that a thread works on, if it has decided to work on one only."""

    fd: int | None = None


class Beneath:
    """Access to files beneath one directory.

    Nothing is kept open between calls, so that a disk can be unmounted, and one that comes back
    is found again.

    Args:
        open_root: opens the directory; called for every access.
        resolver: opens paths beneath it.
    """

    def __init__(self, open_root: OpenRoot, resolver: Resolver | None = None) -> None:
        self._open_root = open_root
        self._resolver = resolver or Resolver()
        self._pin = _Pin()

    @contextlib.contextmanager
    def top(self) -> Iterator[int]:
        """Lend a descriptor of the directory itself."""
        if self._pin.fd is not None:
            yield self._pin.fd
            return
        fd = self._open_root()
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """Have what this thread does meanwhile work on one and the same directory, opened once."""
        with self.top() as fd:
            before, self._pin.fd = self._pin.fd, fd
            try:
                yield
            finally:
                self._pin.fd = before

    def open(self, path: bytes, flags: int, mode: int = 0) -> int:
        """Open a path; see `api.beneath.resolve.Resolver.open`.

        Returns:
            A descriptor, to be closed by the caller.

        Raises:
            BadPathError: no client may name such a path.
            OSError: it cannot be opened.
        """
        with self.top() as top:
            return self._resolver.open(top, path, flags, mode)

    def open_known(self, path: bytes, flags: int) -> int:
        """As `open`, for a path from the log, which may be longer than clients may name one.

        Raises:
            BadPathError: as `open`, but for the length of the whole.
            OSError: it cannot be opened.
        """
        *above, last = pieces(path)
        with self.top() as top, contextlib.ExitStack() as opened:
            fd = top
            for piece in above:
                fd = self._resolver.open(fd, piece, os.O_PATH | os.O_DIRECTORY)
                opened.callback(os.close, fd)
            return self._resolver.open(fd, last, flags)

    def open_cached(self, path: bytes, flags: int) -> int | None:
        """As `open`, or return None where the kernel would have to wait for a disk."""
        with self.top() as top:
            return self._resolver.open_cached(top, path, flags)

    def open_directory(self, path: bytes) -> int:
        """Open a directory that can be listed; the caller closes it.

        Raises:
            BadPathError: no client may name such a path.
            OSError: it is none, or cannot be opened.
        """
        return self.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)

    @contextlib.contextmanager
    def directory(self, path: bytes) -> Iterator[int]:
        """Lend a descriptor of a directory; errors as `open_directory`."""
        fd = self.open_directory(path)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def entry(self, path: bytes) -> Iterator[Entry]:
        """Lend the directory of a path, and the name in it, for calls that take both.

        Raises:
            BadPathError: no client may name such a path, or it is the directory itself.
            OSError: its directory cannot be opened.
        """
        names = split(path)
        if not names:
            raise BadPathError("the top directory itself cannot be changed")
        with self.directory(join(names[:-1])) as fd:
            yield Entry(fd, names[-1])

    def stat(self, path: bytes) -> os.stat_result:
        """Return what is at a path; a symbolic link is not followed.

        Raises:
            BadPathError: no client may name such a path.
            OSError: it cannot be looked at.
        """
        fd = self.open(path, os.O_PATH)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def make_directories(self, path: bytes, *, durable: bool = True) -> list[bytes]:
        """Make a directory and those above it that are missing.

        Each gets owner and mode of the directory that it is made in.

        Args:
            path: of the directory.
            durable: they are on the disk when this returns.

        Returns:
            Paths of those that were made, the uppermost first.

        Raises:
            BadPathError: no client may name such a path.
            OSError: it cannot be made; NotADirectoryError or ELOOP where something is in the way.
        """
        made: list[bytes] = []
        names = split(path)
        for depth in range(self._existing(names), len(names)):
            below = join(names[: depth + 1])
            with self.entry(below) as entry:
                if _make_directory(entry, durable=durable):
                    made.append(below)
        return made

    def _existing(self, names: tuple[bytes, ...]) -> int:
        """Return how many of the names lead to a directory that is there."""
        for depth in range(len(names), 0, -1):
            with contextlib.suppress(FileNotFoundError), self.directory(join(names[:depth])):
                return depth
        return 0

    def unlink(self, path: bytes) -> None:
        """Remove a name that is no directory, durably.

        Raises:
            BadPathError: no client may name such a path.
            OSError: it cannot be removed.
        """
        with self.entry(path) as entry:
            os.unlink(entry.name, dir_fd=entry.directory)
            os.fsync(entry.directory)

    def prune(self, path: bytes) -> list[bytes]:
        """Remove the directories above a path that are empty, the lowest first, durably.

        Returns:
            Paths of those that were removed.
        """
        removed: list[bytes] = []
        names = split(path)[:-1]
        while names and self._remove_empty(join(names)):
            removed.append(join(names))
            names = names[:-1]
        return removed

    def _remove_empty(self, path: bytes) -> bool:
        try:
            with self.entry(path) as entry:
                os.rmdir(entry.name, dir_fd=entry.directory)
                os.fsync(entry.directory)
        except OSError as error:
            if error.errno in _STAYS:
                return False
            raise
        return True

    def sync(self, path: bytes) -> None:
        """Have the names in a directory on the disk before this returns.

        Raises:
            OSError: they may not be.
        """
        with self.directory(path) as fd:
            os.fsync(fd)


_STAYS = frozenset(
    {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EBUSY, errno.ELOOP}
)
"""Why a directory is not removed: it is in use, or somebody else was faster."""


def _make_directory(entry: Entry, *, durable: bool) -> bool:
    """Make a directory; return whether nobody else was faster."""
    try:
        os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
    except FileExistsError:
        return False
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(entry.name, flags, dir_fd=entry.directory)
    try:
        give(fd, inherited(entry.directory, is_directory=True))
    finally:
        os.close(fd)
    if durable:
        os.fsync(entry.directory)
    return True
