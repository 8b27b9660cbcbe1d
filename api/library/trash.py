"""What was deleted: aside in its root, under a key, until it is restored or has been there long.

The entity in the log comes first, then the rename. A crash between the two leaves an entity of
which nothing is in the trash: that is seen when it is asked for, and it ends. Nothing can be in the
trash of which the log does not know where it was.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Sequence
from typing import Final

import msgspec

from api.beneath.root import Beneath
from api.beneath.staging import OWN
from api.library.call import FACE, SECOND_US, Place, Reading, Service, Who
from api.library.names import unique
from api.library.wire import DELETE_FAILED, NOT_FOUND, LibraryError
from api.served import RootUnavailableError, Touched
from eventlog.library import Kind, Trashed
from projections import library_paths
from projections.library_store import Change

TRASH: Final = OWN + b"/trash"

DAY_US: Final = 86_400 * SECOND_US

_KEY_BYTES: Final = 16
_GONE_ERRORS: Final = (FileNotFoundError, NotADirectoryError)


class Trash:
    """Puts files and directories into the trash of their root, and takes them out again.

    Args:
        service: what the library is.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def put(self, who: Who, number: int) -> int:
        """Delete a file or a directory with all that is in it.

        Args:
            who: deletes it, and may.
            number: of the node.

        Returns:
            Number of what is in the trash now.

        Raises:
            LibraryError: it could not be moved there; it is where it was.
        """
        with self._service.store.reading() as view:
            reading = Reading(view, who.user, self._service)
            place, path = reading.path(number)
            notes = _notes_below(reading, number)
        key = secrets.token_hex(_KEY_BYTES)
        try:
            found = place.beneath.stat(path)
            size = _size(place.beneath, path, found)
        except OSError as error:
            raise LibraryError(NOT_FOUND) from error
        now = self._service.now_us
        is_directory = stat.S_ISDIR(found.st_mode)
        told = (place.name, path, key, number, who.number, now, size, is_directory, notes)
        trashed = Trashed(*told)
        entity = self._service.store.change(lambda change: change.put(trashed), who.author)
        try:
            place.root.perform(lambda: _away(place, path, key), (path,), who.author)
        except (OSError, RootUnavailableError) as error:
            if self._is_there(trashed):
                return entity  # it was moved, and is recorded later
            self._end(entity, "not moved", who.author)
            raise LibraryError(DELETE_FAILED) from error
        return entity

    def restore(self, entity: int, trashed: Trashed, author: str) -> bytes:
        """Put something back where it was, under a free name in a directory that is there.

        Returns:
            Its path in the root, raw.

        Raises:
            LibraryError: it is not in the trash any more, or cannot be put back.
        """
        place = self._place(trashed)
        path = b""

        def act() -> Sequence[Touched]:
            nonlocal path
            path, touched = _back(place, trashed)
            return touched

        about = (trashed.path,)
        try:
            place.root.perform(act, about, author)
        except _GONE_ERRORS as error:
            self._end(entity, "lost", author)
            raise LibraryError(NOT_FOUND) from error
        except (OSError, RootUnavailableError) as error:
            raise LibraryError(DELETE_FAILED) from error
        self._service.store.change(lambda change: _restored(change, entity, trashed, path), author)
        return path

    def remove(self, entity: int, trashed: Trashed, author: str = FACE) -> None:
        """Remove something from the trash for good.

        Raises:
            OSError: not all of it could be removed.
            LibraryError: its root is not there.
        """
        place = self._place(trashed)
        with contextlib.suppress(*_GONE_ERRORS):
            _remove_tree(place.beneath, TRASH + b"/" + trashed.key.encode())
        self._end(entity, "emptied", author)

    def expire(self, days: float, bytes_max: int | None) -> int:
        """Remove what has been in the trash too long, and the oldest of what is too much.

        Returns:
            How much was removed.
        """
        with self._service.store.reading() as view:
            everything = view.library.trash()
        before_us = self._service.now_us - round(days * DAY_US)
        kept: dict[str, int] = {}
        count = 0
        for entity, trashed in reversed(everything):
            total = kept.get(trashed.root, 0) + trashed.size
            is_too_much = bytes_max is not None and total > bytes_max
            if not is_too_much:
                kept[trashed.root] = total
            if trashed.deleted_us < before_us or is_too_much:
                with contextlib.suppress(OSError, LibraryError, RootUnavailableError):
                    self.remove(entity, trashed)
                    count += 1
        return count

    def _is_there(self, trashed: Trashed) -> bool:
        with contextlib.suppress(OSError, RootUnavailableError):
            self._place(trashed).beneath.stat(TRASH + b"/" + trashed.key.encode())
            return True
        return False

    def _place(self, trashed: Trashed) -> Place:
        place = self._service.places.get(trashed.root)
        if place is None:
            raise LibraryError(NOT_FOUND)
        return place

    def _end(self, entity: int, reason: str, author: str) -> None:
        self._service.store.change(lambda change: change.end(Kind.TRASHED, entity, reason), author)


def _away(place: Place, path: bytes, key: str) -> list[Touched]:
    """Move something into the trash; on the observer's thread."""
    beneath = place.beneath
    with beneath.pinned():
        place.staging.ensure()
        with contextlib.suppress(FileExistsError), beneath.entry(TRASH) as entry:
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
        with beneath.entry(path) as old, beneath.directory(TRASH) as trash:
            os.rename(old.name, key.encode(), src_dir_fd=old.directory, dst_dir_fd=trash)
            os.fsync(trash)
            os.fsync(old.directory)
    # Not "moved away": then a while is waited for the place where it turns up.
    return [(path, "removed")]


def _back(place: Place, trashed: Trashed) -> tuple[bytes, list[Touched]]:
    """Move something out of the trash; on the observer's thread."""
    beneath, key = place.beneath, trashed.key.encode()
    above, _, name = trashed.path.rpartition(b"/")
    with beneath.pinned(), beneath.directory(TRASH) as trash:
        os.lstat(key, dir_fd=trash)
        made = beneath.make_directories(above)
        with beneath.directory(above) as directory:
            taken = {os.fsencode(each) for each in os.listdir(directory)}  # noqa: PTH208
            free = unique(name, taken.__contains__)
            os.rename(key, free, src_dir_fd=trash, dst_dir_fd=directory)
            os.fsync(directory)
            os.fsync(trash)
    path = b"%b/%b" % (above, free) if above else free
    return path, [*((each, "changed") for each in made), (path, "moved here")]


def _restored(change: Change, entity: int, trashed: Trashed, path: bytes) -> None:
    """Give the new node what was said of the old one; what is in it follows when it is known."""
    _follow(change, trashed.root, path, trashed.node)
    if trashed.notes:
        change.put(msgspec.structs.replace(trashed, restored=path), entity)
    else:
        change.end(Kind.TRASHED, entity, "restored")


def _notes_below(reading: Reading, number: int) -> tuple[tuple[bytes, int], ...]:
    """Return paths in a directory, and nodes, of which something was said."""
    depth = len(reading.tree.chain(number))
    below = (n for n in reading.tree.descendants(number) if reading.library.note(n))
    chains = ((n, reading.tree.chain(n)) for n in below)
    return tuple((b"/".join(name for _, name in chain[depth:]), n) for n, chain in chains)


def _follow(change: Change, root: str, path: bytes, old: int) -> bool:
    """Have what was said of an old node said of the one at a path; return whether there is one."""
    number = library_paths.number_at(change.tree, root, path)
    if number is None:
        return False
    said = change.library.note(old)
    if number != old and said is not None and change.library.note(number) is None:
        change.end(Kind.NOTE, said[0], "moved on")
        change.put(msgspec.structs.replace(said[1], node=number))
    return True


def settle_restored(service: Service) -> None:
    """Give nodes in what was restored what was said of them before, as they become known."""
    with service.store.reading() as view:
        waiting = view.library.restored()
    for entity, trashed in waiting:
        service.store.change(lambda change: _settle(change, entity, trashed), FACE)  # noqa: B023 - run at once


def _settle(change: Change, entity: int, trashed: Trashed) -> None:
    top = trashed.restored or b""
    left = tuple(
        (path, old)
        for path, old in trashed.notes
        if not _follow(change, trashed.root, b"%b/%b" % (top, path), old)
    )
    is_there = library_paths.number_at(change.tree, trashed.root, top) is not None
    if not left or not is_there:
        change.end(Kind.TRASHED, entity, "restored")
    elif left != trashed.notes:
        change.put(msgspec.structs.replace(trashed, notes=left), entity)


def _size(beneath: Beneath, path: bytes, found: os.stat_result) -> int:
    """Return the bytes of a file, or of all that is in a directory."""
    total, waiting = 0 if stat.S_ISDIR(found.st_mode) else found.st_size, []
    waiting = [path] if stat.S_ISDIR(found.st_mode) else []
    while waiting:
        above = waiting.pop()
        with beneath.directory(above) as fd, os.scandir(fd) as entries:
            for entry in entries:
                below = above + b"/" + os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(below)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def _remove_tree(beneath: Beneath, path: bytes) -> None:
    """Remove a file, or a directory and what is in it, without following anything out of it."""
    with beneath.entry(path) as entry:
        if stat.S_ISDIR(os.lstat(entry.name, dir_fd=entry.directory).st_mode):
            _empty(entry.directory, entry.name, os.fstat(entry.directory).st_dev)
        else:
            os.unlink(entry.name, dir_fd=entry.directory)


def _empty(above: int, name: bytes, device: int) -> None:
    """Remove a directory by descriptors; what is mounted in it stays."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=above)
    try:
        if os.fstat(fd).st_dev != device:
            raise OSError(errno.EXDEV, "something is mounted here")
        for each in os.listdir(fd):  # noqa: PTH208 - of a descriptor
            raw = os.fsencode(each)
            if stat.S_ISDIR(os.lstat(raw, dir_fd=fd).st_mode):
                _empty(fd, raw, device)
            else:
                os.unlink(raw, dir_fd=fd)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=above)
