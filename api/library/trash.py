"""What was deleted: aside in its root, under a key, until it is restored or has been there long.

The entity in the log comes first, then the rename. A crash between the two leaves an entity of
which nothing is in the trash: that is seen when it is asked for, and it ends. Nothing can be in the
trash of which the log does not know where it was.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Sequence
from typing import Final

import msgspec

from api.beneath.paths import BadPathError
from api.library import bins
from api.library.call import FACE, SECOND_US, Place, Reading, Service, Who
from api.library.names import unique
from api.library.targets import StaleError, Target, at, moved_is_stale
from api.library.wire import DELETE_FAILED, NOT_FOUND, LibraryError
from api.served import RootUnavailableError, Touched
from eventlog.events import DISK
from eventlog.library import Kind, Trashed
from projections import library_paths
from projections.library_store import Change

DAY_US: Final = 86_400 * SECOND_US

_KEY_BYTES: Final = 16

Notes = tuple[tuple[bytes, int], ...]
"""Paths in a directory, and nodes there of which something was said."""


class _LostError(Exception):
    """It is not in the trash."""


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
            notes = _notes_below(Reading(view, who.user, self._service), number)
        try:
            return at(self._service, who, number, lambda it: self._put(who, number, it, notes))
        except (OSError, BadPathError, RootUnavailableError) as error:
            raise LibraryError(DELETE_FAILED) from error

    def _put(self, who: Who, number: int, target: Target, notes: Notes) -> int:
        place, path, key = target.place, target.path, secrets.token_hex(_KEY_BYTES)
        with moved_is_stale():
            size = bins.size(place.beneath, path)
            is_directory = stat.S_ISDIR(place.beneath.stat(path).st_mode)
        now = self._service.now_us
        told = (place.name, path, key, number, who.number, now, size, is_directory, notes)
        trashed = Trashed(*told)
        entity = self._service.store.change(lambda change: change.put(trashed), who.author)
        try:
            place.root.perform(lambda: _away(target, key), (path,), who.author)
        except (StaleError, OSError, RootUnavailableError):
            if not self._is_there(trashed):
                self._end(entity, "not moved", who.author)
                raise
        return entity  # if it was moved and not recorded, it is recorded later

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

        try:
            place.root.perform(act, (trashed.path,), author)
        except _LostError as error:
            self._end_if_lost(entity, trashed, author)
            raise LibraryError(NOT_FOUND) from error
        except (OSError, RootUnavailableError) as error:
            raise LibraryError(DELETE_FAILED) from error
        self._service.store.change(lambda change: _restored(change, entity, trashed, path), author)
        return path

    def remove(self, entity: int, trashed: Trashed, author: str = FACE) -> None:
        """Remove something from the trash for good.

        Raises:
            OSError: not all of it could be removed.
            LibraryError: its root is not there, or the disk is not on which it is.
        """
        beneath = self._place(trashed).beneath
        try:
            path = bins.found(beneath, trashed.path, trashed.key.encode())
        except FileNotFoundError as error:
            if not self._end_if_lost(entity, trashed, author):
                raise LibraryError(NOT_FOUND) from error
            return
        bins.remove(beneath, path)
        self._end(entity, "emptied", author)

    def settle(self, entity: int, trashed: Trashed) -> bool:
        """After a crash, end what was not moved to the trash, or was put back already.

        Returns:
            Whether that is over: False when a disk is away, or its scan has not come so far.

        Raises:
            RootUnavailableError: its root is not there.
            LibraryError: its root is none any more.
            OSError: the disk is in trouble.
        """
        place, path = self._place(trashed), trashed.path
        with contextlib.suppress(FileNotFoundError):
            bins.found(place.beneath, path, trashed.key.encode())
            return True
        place.root.perform(lambda: [(path, "changed")], (path,), DISK)
        with self._service.store.reading() as view:
            number = library_paths.number_at(view.tree, trashed.root, path)
        if number is not None and (number > entity or number == trashed.node):
            self._service.store.change(
                lambda change: _restored(change, entity, trashed, path), FACE
            )
            return True
        return self._end_if_lost(entity, trashed, FACE)

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

    def _end_if_lost(self, entity: int, trashed: Trashed, author: str) -> bool:
        """End what somebody else removed from the trash; not what lies on a disk that is away."""
        if not self._has_its_disk(trashed):
            return False
        self._end(entity, "lost", author)
        return True

    def _has_its_disk(self, trashed: Trashed) -> bool:
        """Say whether every filesystem is mounted that something's path was on.

        Its directory may be gone. But of the directories above it, the last one that is known is
        the very one that was recorded: a disk that is away leaves another in its place, or none.
        """
        names = trashed.path.split(b"/")[:-1]
        with self._service.store.reading() as view:
            known = library_paths.nodes_along(view.tree, trashed.root, names)
        known = [node for node in known if node.state.is_directory]  # the last may be none by now
        if not known:
            return False
        path = b"/".join(names[: len(known) - 1])
        try:
            with self._place(trashed).beneath.directory(path) as directory:
                return os.fstat(directory).st_ino == known[-1].state.ino
        except OSError:
            return False

    def _is_there(self, trashed: Trashed) -> bool:
        with contextlib.suppress(OSError, RootUnavailableError):
            bins.found(self._place(trashed).beneath, trashed.path, trashed.key.encode())
            return True
        return False

    def _place(self, trashed: Trashed) -> Place:
        place = self._service.places.get(trashed.root)
        if place is None:
            raise LibraryError(NOT_FOUND)
        return place

    def _end(self, entity: int, reason: str, author: str) -> None:
        def job(change: Change) -> None:
            if change.library.trashed(entity):  # no other request has restored it meanwhile
                change.end(Kind.TRASHED, entity, reason)

        self._service.store.change(job, author)


def _away(target: Target, key: str) -> list[Touched]:
    """Move something into the trash; on the observer's thread."""
    beneath, path = target.place.beneath, target.path
    with beneath.pinned():
        target.check()
        made = bins.made(beneath, path)
        with beneath.entry(path) as old, beneath.directory(made) as trash:
            os.rename(old.name, key.encode(), src_dir_fd=old.directory, dst_dir_fd=trash)
            os.fsync(trash)
            os.fsync(old.directory)
    # Not "moved away": then a while is waited for the place where it turns up.
    return [(path, "removed")]


def _back(place: Place, trashed: Trashed) -> tuple[bytes, list[Touched]]:
    """Move something out of the trash; on the observer's thread."""
    beneath = place.beneath
    above, _, name = trashed.path.rpartition(b"/")
    with beneath.pinned():
        try:
            lies = bins.found(beneath, trashed.path, trashed.key.encode())
        except FileNotFoundError as error:
            raise _LostError from error
        made = beneath.make_directories(above)
        with beneath.directory(above) as directory, beneath.entry(lies) as trash:
            taken = {os.fsencode(each) for each in os.listdir(directory)}  # noqa: PTH208
            free = unique(name, taken.__contains__)
            os.rename(trash.name, free, src_dir_fd=trash.directory, dst_dir_fd=directory)
            os.fsync(directory)
            os.fsync(trash.directory)
    path = b"%b/%b" % (above, free) if above else free
    return path, [*((each, "changed") for each in made), (path, "moved here")]


def _restored(change: Change, entity: int, trashed: Trashed, path: bytes) -> None:
    """Give the new node what was said of the old one; what is in it follows when it is known."""
    _follow(change, trashed.root, path, trashed.node)
    if trashed.notes:
        is_live = change.is_live(Kind.TRASHED, entity)  # another request may have found it gone
        change.put(msgspec.structs.replace(trashed, restored=path), entity if is_live else 0)
    else:
        change.end(Kind.TRASHED, entity, "restored")


def _notes_below(reading: Reading, number: int) -> Notes:
    """Return paths in a directory, and nodes, of which something was said; or uploads are for."""
    depth = len(reading.tree.chain(number))
    awaiting = {upload.catalog for _, upload in reading.library.unfinished()}
    nodes = reading.tree.descendants(number)
    below = (n for n in nodes if n in awaiting or reading.library.note(n))
    chains = ((n, reading.tree.chain(n)) for n in below)
    return tuple((b"/".join(name for _, name in chain[depth:]), n) for n, chain in chains)


def _follow(change: Change, root: str, path: bytes, old: int) -> bool:
    """Have what was said of an old node said of the one at a path; return whether there is one."""
    number = library_paths.number_at(change.tree, root, path)
    if number is None:
        return False
    for entity, upload in change.library.unfinished():
        if upload.catalog == old != number:
            change.put(msgspec.structs.replace(upload, catalog=number), entity)
    said = change.library.note(old)
    if number != old and said is not None and change.library.note(number) is None:
        change.end(Kind.NOTE, said[0], "moved on")
        change.put(msgspec.structs.replace(said[1], node=number))
        for entity, upload in change.library.uploaded(old):  # has the thumbnails of a client
            note = msgspec.structs.replace(upload.note, node=number)
            change.put(msgspec.structs.replace(upload, note=note), entity)
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
