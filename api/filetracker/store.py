"""The files of the store: ordinary files beneath a root, each with a version.

What changes a file is decided and done on the root's own thread, one change after the other, after
the upload is complete. So no lock is held while a client sends, and of two uploads of one file the
newer version wins, whichever comes first.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from api.beneath.cached import read_cached
from api.beneath.opened import Opened
from api.beneath.paths import BadPathError
from api.beneath.root import Beneath, Entry
from api.beneath.staging import NewFile, Staging
from api.files.conditions import check_write, etag_of
from api.files.dates import SECOND_NS, version_of
from api.files.refusal import Refusal
from api.filetracker.digests import Digests
from api.filetracker.keep import ChangedError, Keeper
from api.filetracker.marks import mark
from api.filetracker.packed import Packed
from api.filetracker.packer import Packer
from api.filetracker.reasons import missing, shown, translated
from api.filetracker.stored import Stored
from api.filetracker.usage import Usage
from api.served import RootUnavailableError, ServedRoot, Touched
from eventlog.clock import Clock

_READ: Final = os.O_RDONLY | os.O_NONBLOCK
_SMALL: Final = 2**26
"""Bytes that are read at once for a digest that nobody has asked for by itself."""

_SMALL_UPLOAD: Final = 2**20
"""Bytes that are written, and fail to be, before it is worth asking whether there is space."""

Fields = Mapping[str, str]


TRIES: Final = 20
"""How often a change is prepared anew because others write to the file meanwhile."""


class Listing(NamedTuple):
    """A version of a file in its history.

    Attributes:
        version: seconds since 1970.
        size: bytes.
        digest: SHA-256, hexadecimal; None for a large file whose digest is not known.
        current: it is the one of now.
    """

    version: int
    size: int
    digest: str | None
    current: bool = False


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


class Staged(NamedTuple):
    """A new file that is written, and has no place yet.

    Attributes:
        change: what is to be done with it.
        new: the file.
        digest: of it, SHA-256, hexadecimal.
    """

    change: Change
    new: NewFile
    digest: str

    def mark(self) -> None:
        """Have it carry its digest.

        Raises:
            OSError: the disk is in trouble.
        """
        mark(self.new.fd, self.digest, self.change.version * SECOND_NS)


class Store:
    """Reads and changes the files.

    Args:
        root: where they are.
        clock: says when a version was replaced.
        keep_max: old versions of each file that are kept; None for all.
        quota: bytes that the files and their old versions may take together; None for any.
        packed_max: bytes that compressed contents may take together; 0 for none.
    """

    def __init__(
        self,
        root: ServedRoot,
        clock: Clock,
        keep_max: int | None = None,
        quota: int | None = None,
        packed_max: int = 0,
    ) -> None:
        self.beneath = Beneath(root.open_root)
        self.staging = Staging(self.beneath)
        self.digests = Digests()
        self.keeper = Keeper(self.beneath, self.staging, self.digests, keep_max)
        self.usage = Usage(quota)
        self.packer = Packer(self.digests, Packed(self.beneath, self.staging, packed_max))
        self._root = root
        self._clock = clock

    def open(self, path: bytes) -> Stored:
        """Open a file to be read, as it is now.

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
            return self._stored(fd, found)

    def read_cached(
        self, path: bytes, size_max: int, *, pack: bool = False
    ) -> tuple[Stored, bytes] | None:
        """Return a small file and its content, if all of it is in memory and no disk is asked.

        The descriptor of what is returned is closed.

        Args:
            path: of the file.
            size_max: the largest one, bytes.
            pack: compressed bytes are preferred.
        """
        stored = self.open_cached(path)
        if stored is None:
            return None
        try:
            if stored.size > size_max:
                return None
            chosen = self.packer.choose_cached(stored) if pack else stored
            data = None if chosen is None else _read_all_cached(chosen, stored.fd)
        finally:
            os.close(stored.fd)
        return None if chosen is None or data is None else (chosen, data)

    def open_cached(self, path: bytes) -> Stored | None:
        """As `open`, or return None when a disk must be asked, or there is nothing to be read."""
        if not path or self.is_hidden(path):
            return None
        try:
            fd = self.beneath.open_cached(path, _READ)
        except (OSError, BadPathError, RootUnavailableError):
            return None  # whoever waits for the disk meets it again, and says what it means
        if fd is None:
            return None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            return None
        return self._stored(fd, found)

    def _stored(self, fd: int, found: os.stat_result) -> Stored:
        digest = self.digests.get(found)
        return Stored(fd, found.st_size, version_of(found), etag_of(found), digest)

    def open_version(self, path: bytes, version: int) -> Stored:
        """Open a version of a file, be it the one of now or one that was replaced or deleted.

        Raises:
            Refusal: there is none.
        """
        with contextlib.suppress(Refusal):
            stored = self.open(path)
            if stored.version == version:
                return stored
            os.close(stored.fd)
        with translated(path):
            for kept in self.keeper.versions(path):
                if kept.version == version:
                    fd = self.keeper.open(kept)
                    return Stored(fd, kept.size, version, f'"{kept.digest}"', kept.digest)
        raise Refusal(404, f'File "{shown(path)}" has no such version')

    def history(self, path: bytes) -> list[Listing]:
        """Return the versions of a file, the one of now first, then from the newest on.

        Raises:
            Refusal: there is none.
        """
        found: list[Listing] = []
        with contextlib.suppress(Refusal):
            stored = self.open(path)
            try:
                digest = stored.digest or self._digest_of_small(stored)
            finally:
                os.close(stored.fd)
            found.append(Listing(stored.version, stored.size, digest, current=True))
        with translated(path):
            kept = self.keeper.versions(path) if path else []
        found += [Listing(each.version, each.size, each.digest) for each in kept]
        if not found:
            raise missing(path)
        return found

    def _digest_of_small(self, stored: Stored) -> str | None:
        return self.digests.read(stored.fd) if stored.size <= _SMALL else None

    def begin(self, change: Change, size: int, opened: Opened | None = None) -> NewFile:
        """Begin a file that is to be put; nothing is changed yet.

        Args:
            change: what is to be done.
            size: bytes that will be written, as far as that is known.
            opened: directories that need not be opened again.

        Raises:
            Refusal: it cannot be.
        """
        with translated(change.path):
            if not change.path:
                raise Refusal(400, "a file must have a name")
            if self.is_hidden(change.path):
                raise Refusal(403, "this name is excluded from the feed, so nothing is stored here")
            self.usage.check(size)
            new = self.staging.new_file(change.path, opened)
            if size > _SMALL_UPLOAD:
                _check_space(new, size)
            return new

    def put(self, staged: Staged) -> int:
        """Put a new file in its place, unless a newer version is there.

        Args:
            staged: all of it is written.

        Returns:
            The version that is there now.

        Raises:
            Refusal: something else is in its way, or its conditions do not hold.
        """
        change = staged.change
        with translated(change.path):
            staged.mark()
            staged.new.finish(change.version * SECOND_NS)
            for _ in range(TRIES):
                self.keeper.prepare(change.path)
                (found,) = self.place((staged,))
                if isinstance(found, int):
                    return found
                if not isinstance(found, ChangedError):
                    raise found
        raise _busy()

    def place(self, staged: Sequence[Staged]) -> list[int | Exception]:
        """Put new files in their places together, each unless a newer version is there.

        Args:
            staged: files of one author for different paths, none of them above another; all of
                each is on the disk, and what is at its path was prepared for `keeper.keep`.

        Returns:
            For each the version that is there now, or what was raised.

        Raises:
            OSError: some of their names may not be on the disk.
            RootUnavailableError: nothing was done, or nothing was recorded.
        """
        found: list[int | Exception] = []

        def act(opened: Opened) -> list[Touched]:
            touched: list[Touched] = []
            for each in staged:
                try:
                    version, made = self._place(each, opened)
                except Exception as error:  # noqa: BLE001 - handed to whoever asked
                    found.append(error)  # it may have got half way, so it is looked at
                    touched.append((each.change.path, "changed"))
                else:
                    found.append(version)
                    touched += made
            return touched

        self._perform(act, tuple(each.change.path for each in staged), staged[0].change.author)
        return found

    def _place(self, staged: Staged, opened: Opened) -> tuple[int, list[Touched]]:
        """Put a new file in its place; returns the version that is there, and what was touched."""
        change, new, digest = staged
        size = os.fstat(new.fd).st_size
        made: list[bytes] = []
        try:
            entry = opened.entry(change.path)
        except FileNotFoundError:
            check_write(change.fields, None)
            self.usage.check(size)
            made = self._make_directories(change.path, opened)
            entry = opened.entry(change.path)
        before = _before(change, entry)
        if before is not None and version_of(before) > change.version:
            return version_of(before), []
        self.usage.check(size)
        gone = self._keep(change, before)
        new.place(entry.directory, entry.name)
        self.digests.remember(os.fstat(new.fd), digest)
        self.usage.add(size - gone)
        return change.version, [*((path, "changed") for path in made), (change.path, "written")]

    def _make_directories(self, path: bytes, opened: Opened) -> list[bytes]:
        """Make what is missing above a path; it is synced with all that is opened."""
        made = self.beneath.make_directories(_above(path), durable=False)
        for each in made:
            opened.directory(_above(each))
        return made

    def delete(self, change: Change) -> None:
        """Remove a file, unless a newer version is there; directories that it leaves empty, too.

        Raises:
            Refusal: there is none, or its conditions do not hold.
        """
        with translated(change.path):
            if not change.path or self.is_hidden(change.path):
                raise missing(change.path)
            remove = partial(self._remove, change)
            for _ in range(TRIES):
                self.keeper.prepare(change.path)
                try:
                    return self._perform(remove, (change.path,), change.author)
                except ChangedError:
                    continue
        raise _busy()

    def _remove(self, change: Change, opened: Opened) -> list[Touched]:
        """Remove a file; returns what was touched."""
        try:
            entry = opened.entry(change.path)
        except FileNotFoundError as error:
            check_write(change.fields, None)
            raise missing(change.path) from error
        before = _before(change, entry)
        if before is None:
            raise missing(change.path)
        if version_of(before) > change.version:
            return []
        gone = self._keep(change, before)
        os.unlink(entry.name, dir_fd=entry.directory)
        self.usage.add(-gone)
        removed = self.beneath.prune(change.path)
        return [(path, "removed") for path in (*reversed(removed), change.path)]

    def _keep(self, change: Change, before: os.stat_result | None) -> int:
        """Keep what is about to lose its place; returns the bytes that are freed by that."""
        if before is None:
            return 0
        now_us = self._clock.now_us()
        is_new = self.keeper.keep(change.path, before, version_of(before), now_us)
        return 0 if is_new else before.st_size

    def is_hidden(self, path: bytes) -> bool:
        """Say whether a path, or one above it, is excluded from the feed."""
        end = path.find(b"/")
        while end >= 0:
            if self._root.hides(path[:end]):
                return True
            end = path.find(b"/", end + 1)
        return self._root.hides(path)

    def hides(self, path: bytes) -> bool:
        """Say the same of a path whose directory is not hidden."""
        return self._root.hides(path)

    def _perform(
        self, act: Callable[[Opened], list[Touched]], paths: tuple[bytes, ...], author: str
    ) -> None:
        """Have changes made; names are on the disk, and all is in the log, when this returns.

        Args:
            act: makes them, in directories that it opens.
            paths: that they are about.
            author: who wants them.
        """
        with Opened(self.beneath) as opened:

            def pinned() -> list[Touched]:
                with self.beneath.pinned():
                    return act(opened)

            self._root.perform(pinned, paths, author, opened.sync)


def _before(change: Change, entry: Entry) -> os.stat_result | None:
    """Return the file that is there before a change, if its conditions hold."""
    try:
        found = os.lstat(entry.name, dir_fd=entry.directory)
    except FileNotFoundError:
        check_write(change.fields, None)
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Refusal(409, "something that is no file has this name")
    check_write(change.fields, found)
    return found


def _busy() -> Refusal:
    return Refusal(503, "others keep writing to this file; try again", (("retry-after", "5"),))


def _check_space(new: NewFile, size: int) -> None:
    """Refuse at once what the disk has no space for, and give the new file up."""
    found = os.fstatvfs(new.fd)
    if size > found.f_bavail * found.f_frsize:
        with new:
            raise Refusal(507, "the disk has not enough space left")


_NOTHING_TO_READ: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)


def _read_all_cached(chosen: Stored, plain: int) -> bytes | None:
    """Read small bytes that are in memory, and close them unless they are the plain ones."""
    try:
        return read_cached(chosen.fd, chosen.size, 0)
    finally:
        if chosen.fd != plain:
            os.close(chosen.fd)


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
