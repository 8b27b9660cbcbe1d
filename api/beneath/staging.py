"""New files beneath a root: written aside, synced, and only then renamed into place.

They are written in a directory of their own, whose name is excluded from the feed, on the same
filesystem. What a killed server leaves there is removed at the next start.
"""

import contextlib
import fcntl
import itertools
import os
import re
import secrets
from typing import Final, NamedTuple, Self

from api.beneath.elsewhere import Elsewhere
from api.beneath.opened import Opened
from api.beneath.owned import Owned, give, inherited, taken_over
from api.beneath.paths import join, split
from api.beneath.reach import Reach
from api.beneath.root import Beneath

OWN: Final = b".nasfeed"
"""Directory in a root that belongs to the faces; excluded from the feed, and not to be named."""

STAGING: Final = OWN + b"/staging"

ELSEWHERE: Final = OWN + b"/elsewhere"

_STRAY: Final = b".__tmp__"
"""End of the names of new files; excluded from the feed, too, as some are written elsewhere."""

_NUMBERS: Final = itertools.count(secrets.randbits(127))
"""For names that nobody else gives, nor has given before."""

_LITTER: Final = re.compile(r"[0-9a-f]{32}\.__tmp__")
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_HELD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Around(NamedTuple):
    """Where a file is to be placed.

    Attributes:
        names: of the lowest directory above it that is there.
        reach: of that.
        owned: what the file will have for owner and mode.
        before: what `lstat` says of what is in its place; None: nothing.
    """

    names: tuple[bytes, ...]
    reach: Reach
    owned: Owned
    before: os.stat_result | None


class NewFile:
    """A file that is being written and has no place yet. Used as a context manager.

    It is locked as long as somebody works on it, so that nobody takes it for litter. Nobody has it
    open to write any more when it gets its place: closed later, it would be told by the kernel as
    written there, by nobody knows whom.

    Args:
        directory: descriptor of where it is written; closed in the end, but not on an error here.
        around: where it is to be placed.

    Attributes:
        before: what `lstat` said of what was in its place when it was begun; None: nothing.
        fd: a descriptor to write to; once it is finished or placed, only to read.

    Raises:
        OSError: nothing can be written there.
    """

    def __init__(self, directory: int, around: _Around) -> None:
        self.before = around.before
        self._directory = directory
        self._owned = around.owned
        self._is_finished = False
        self._is_placed = False
        while True:
            self._name = b"%032x%b" % (next(_NUMBERS), _STRAY)
            self.fd = os.open(self._name, _NEW, 0o600, dir_fd=directory)
            if self._hold():
                return
            os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def _hold(self) -> bool:
        """Lock it, by a descriptor that stays; returns False when it was swept before."""
        try:
            self._held = os.open(self._name, _HELD, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        fcntl.flock(self._held, fcntl.LOCK_EX)
        if os.fstat(self._held).st_nlink:
            return True
        os.close(self._held)
        return False

    def _end_writing(self) -> None:
        if self.fd != self._held:
            os.close(self.fd)
            self.fd = self._held

    def __exit__(self, *_: object) -> None:
        self._end_writing()
        os.close(self._held)
        try:
            if not self._is_placed:
                os.unlink(self._name, dir_fd=self._directory)
        finally:
            os.close(self._directory)

    def finish(self, mtime_ns: int) -> None:
        """Set owner, mode and the time of last change, and have all of it on the disk.

        Args:
            mtime_ns: nanoseconds since 1970 UTC.

        Raises:
            OSError: it may not be on the disk.
        """
        self.end(mtime_ns)
        os.fsync(self.fd)
        self.synced()

    def end(self, mtime_ns: int) -> None:
        """Do what `finish` does, but for the sync: that is the caller's, who then says `synced`.

        Args:
            mtime_ns: nanoseconds since 1970 UTC.

        Raises:
            OSError: it cannot be.
        """
        give(self.fd, self._owned)
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))
        self._end_writing()

    def synced(self) -> None:
        """Note that all of it is on the disk since it was ended."""
        self._is_finished = True

    def place(self, directory: int, name: bytes) -> None:
        """Rename it to where it belongs, in place of what is there; all of it is on the disk then.

        The name is on the disk only when the directory is synced.

        Args:
            directory: descriptor of the directory.
            name: in it.

        Raises:
            OSError: it cannot be.
        """
        self._end_writing()
        before = _lstat(directory, name)
        owned = inherited(directory) if before is None else taken_over(before)
        if not self._is_finished or owned != self._owned:
            give(self.fd, owned)
            os.fsync(self.fd)  # or the bytes might outlast a power cut, and not who may read them
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=directory)
        self._is_placed = True


class Staging:
    """Makes new files beneath a root.

    Args:
        beneath: access to the root.
    """

    def __init__(self, beneath: Beneath) -> None:
        self._beneath = beneath
        self._elsewhere = Elsewhere(beneath, ELSEWHERE)

    def new_file(self, path: bytes, opened: Opened | None = None) -> NewFile:
        """Begin a file that is to be placed at a path; the path itself is not touched.

        Args:
            path: relative, raw.
            opened: directories that need not be opened again.

        Raises:
            BadPathError: no client may name such a path.
            OSError: nothing can be written there.
        """
        if opened is None:
            with Opened(self._beneath) as own:
                return self.new_file(path, own)
        around = _around(opened, split(path))
        self._make_staging(opened)
        if opened.reach(STAGING) == around.reach:
            directory = os.dup(opened.directory(STAGING))
        else:
            directory = self._elsewhere.open(around.names)
        try:
            return NewFile(directory, around)
        except OSError:
            os.close(directory)
            raise

    def sweep(self) -> int:
        """Remove what a killed server left. What any living one is writing is left alone.

        Returns:
            How many files were removed.

        Raises:
            OSError: the disk is in trouble.
        """
        directories = [STAGING, *self._elsewhere.directories()]
        return sum(self._sweep(path) for path in directories)

    def _sweep(self, path: bytes) -> int:
        count = 0
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            self._beneath.directory(path) as fd,
            os.scandir(fd) as entries,
        ):
            for entry in entries:
                if _LITTER.fullmatch(entry.name):
                    count += _sweep_one(fd, entry.name)
        return count

    def ensure(self) -> None:
        """Make the server's own directory, for nobody else's eyes, if it is missing."""
        with Opened(self._beneath) as opened:
            self._make_staging(opened)

    def _make_staging(self, opened: Opened) -> None:
        with contextlib.suppress(FileNotFoundError):
            opened.directory(STAGING)
            return
        with self._beneath.top() as top, contextlib.suppress(FileExistsError):
            os.mkdir(OWN, 0o700, dir_fd=top)
        with self._beneath.entry(STAGING) as entry, contextlib.suppress(FileExistsError):
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)


def _around(opened: Opened, names: tuple[bytes, ...]) -> _Around:
    """Look at where a file is to be placed.

    Args:
        opened: directories.
        names: of its path.
    """
    above = names[:-1]
    while True:
        try:
            fd = opened.directory(join(above))
        except FileNotFoundError:
            if not above:
                raise
            above = above[:-1]
        else:
            before = _lstat(fd, names[-1]) if len(above) == len(names) - 1 else None
            owned = inherited(fd) if before is None else taken_over(before)
            return _Around(above, opened.reach(join(above)), owned, before)


def _lstat(directory: int, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return None


def _sweep_one(directory: int, name: str) -> bool:
    """Remove a file if nobody is writing to it."""
    with contextlib.suppress(FileNotFoundError):  # it has its place now
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name, dir_fd=directory)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True
    return False
