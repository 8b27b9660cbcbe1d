"""The files of the store: ordinary files beneath a root, each with a version.

What changes a file is decided and done on the root's own thread, one change after the other, after
the upload is complete. So no lock is held while a client sends, and of two uploads of one file the
newer version wins, whichever comes first.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from api.beneath.paths import BadPathError
from api.beneath.root import Beneath
from api.beneath.staging import NewFile, Staging
from api.filetracker.conditions import check_write
from api.filetracker.dates import SECOND_NS, version_of
from api.filetracker.refusal import Refusal, refusal_of
from api.served import RootUnavailableError, ServedRoot, Touched

_READ: Final = os.O_RDONLY | os.O_NONBLOCK

Fields = Mapping[str, str]


class Stored(NamedTuple):
    """A file that is open for reading.

    Attributes:
        fd: its descriptor, to be closed by whoever asked.
        found: what `fstat` says of it.
    """

    fd: int
    found: os.stat_result


class Change(NamedTuple):
    """What a client wants done to a file.

    Attributes:
        path: relative, raw.
        version: that the client has, seconds since 1970.
        author: who it is, for the log.
        fields: of the request's header, for its conditions.
    """

    path: bytes
    version: int
    author: str
    fields: Fields


class Store:
    """Reads and changes the files.

    Args:
        root: where they are.
    """

    def __init__(self, root: ServedRoot) -> None:
        self.beneath = Beneath(root.open_root)
        self.staging = Staging(self.beneath)
        self._root = root

    def open(self, path: bytes) -> Stored:
        """Open a file to be read.

        Raises:
            Refusal: there is none.
        """
        with translated(path):
            if not path or self.is_hidden(path):
                raise missing(path)
            try:
                fd = self.beneath.open(path, _READ)
            except OSError as error:
                if error.errno in _NOTHING_TO_READ:
                    raise missing(path) from error
                raise
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                os.close(fd)
                raise missing(path)
            return Stored(fd, found)

    def begin(self, change: Change, size: int) -> NewFile:
        """Begin a file that is to be put; nothing is changed yet.

        Args:
            change: what is to be done.
            size: bytes that will be written, as far as that is known.

        Raises:
            Refusal: it cannot be.
        """
        with translated(change.path):
            if not change.path:
                raise Refusal(400, "a file must have a name")
            if self.is_hidden(change.path):
                raise Refusal(403, "this name is excluded from the feed, so nothing is stored here")
            new = self.staging.new_file(change.path)
            found = os.fstatvfs(new.fd)
            if size > found.f_bavail * found.f_frsize:
                with new:
                    raise Refusal(507, "the disk has not enough space left")
            return new

    def put(self, change: Change, new: NewFile) -> int:
        """Put a new file in its place, unless a newer version is there.

        Args:
            change: what is to be done.
            new: all of it is written.

        Returns:
            The version that is there now.

        Raises:
            Refusal: something else is in its way, or its conditions do not hold.
        """
        with translated(change.path):
            new.finish(change.version * SECOND_NS)
            now = change.version

            def act() -> list[Touched]:
                nonlocal now
                before = self._before(change)
                if before is not None and version_of(before) > change.version:
                    now = version_of(before)
                    return []
                made = self.beneath.make_directories(_above(change.path))
                with self.beneath.entry(change.path) as entry:
                    new.place(entry.directory, entry.name)
                return [*((path, "changed") for path in made), (change.path, "written")]

            self._perform(act, change)
            return now

    def delete(self, change: Change) -> None:
        """Remove a file, unless a newer version is there; directories that it leaves empty, too.

        Raises:
            Refusal: there is none, or its conditions do not hold.
        """

        def act() -> list[Touched]:
            before = self._before(change)
            if before is None:
                raise missing(change.path)
            if version_of(before) > change.version:
                return []
            with self.beneath.entry(change.path) as entry:
                os.unlink(entry.name, dir_fd=entry.directory)
            removed = self.beneath.prune(change.path)
            return [(path, "removed") for path in (*reversed(removed), change.path)]

        with translated(change.path):
            if not change.path or self.is_hidden(change.path):
                raise missing(change.path)
            self._perform(act, change)

    def is_hidden(self, path: bytes) -> bool:
        """Say whether a path, or one above it, is excluded from the feed."""
        names = path.split(b"/")
        return any(self._root.hides(b"/".join(names[:end])) for end in range(1, len(names) + 1))

    def hides(self, path: bytes) -> bool:
        """Say the same of a path whose directory is not hidden."""
        return self._root.hides(path)

    def _perform(self, act: Callable[[], list[Touched]], change: Change) -> None:
        self._root.perform(act, (change.path,), change.author)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # others went on
            self.beneath.sync(_above(change.path))

    def _before(self, change: Change) -> os.stat_result | None:
        """Return the file that is there before a change, if its conditions hold."""
        try:
            found = self.beneath.stat(change.path)
        except FileNotFoundError:
            check_write(change.fields, None)
            return None
        if not stat.S_ISREG(found.st_mode):
            raise Refusal(409, "something that is no file has this name")
        check_write(change.fields, found)
        return found


_NOTHING_TO_READ: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


def missing(path: bytes) -> Refusal:
    """Return the refusal for a file that is not there."""
    return Refusal(404, f'File "{shown(path)}" not found')


def shown(path: bytes) -> str:
    """Return a path as it can stand in a header and in a terminal."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)


@contextlib.contextmanager
def translated(path: bytes) -> Iterator[None]:
    """Turn errors of paths and of the disk into what a client is told.

    Args:
        path: that was asked for.

    Raises:
        Refusal: for what a client, or whoever runs the server, can do something about.
    """
    try:
        yield
    except BadPathError as error:
        raise Refusal(400, f"{shown(path)}: {error}") from error
    except (OSError, RootUnavailableError) as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        raise refusal from error


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
