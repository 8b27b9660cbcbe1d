"""Makes files of uploads that are whole, also when a crash came in the middle of that."""

import os
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from api.library import parcels
from api.library.call import FACE, Place, Reading, Service, Who
from api.library.names import free_name
from api.library.targets import Target, at, moved_is_stale
from api.library.wire import DATABASE, LibraryError
from api.served import Touched
from eventlog.library import Note, Part, Upload
from projections import library_paths
from projections.library_store import Change

_UNITS: Final = 1000
"""Nanoseconds of a microsecond."""


class Sending(NamedTuple):
    """An upload and where its bytes go.

    Attributes:
        number: of the upload.
        upload: what is known of it.
        place: the root.
    """

    number: int
    upload: Upload
    place: Place

    @property
    def is_done(self) -> bool:
        """Whether it is a file already."""
        return self.upload.note.node != 0

    @property
    def is_whole(self) -> bool:
        """Whether all bytes have come of what is no file yet."""
        return not self.is_done and self.upload.sizes[Part.ORIGIN] == self.upload.size

    def most(self, part: Part) -> int:
        """Return how many bytes a part may have."""
        return self.upload.size if part is Part.ORIGIN else parcels.THUMBNAIL_MAX


def finish(service: Service, who: Who, sending: Sending) -> None:
    """Make a file of an upload of which every byte is there.

    Raises:
        LibraryError: its catalog is gone.
        OSError: it cannot be stored there.
    """
    upload, place = sending.upload, sending.place
    if upload.size == 0:
        parcels.Parcel(place, upload.key, Part.ORIGIN, 0, 0).__exit__()
    modified = upload.note.modified_us
    mtime_ns = None if modified is None else modified * _UNITS
    path = b""

    def work(catalog: Target) -> None:
        nonlocal path
        with moved_is_stale():
            whole = parcels.Whole(place, upload.key, catalog.path, mtime_ns)
        with whole:
            _expect(service, who, sending, whole.inode)

            def act() -> Sequence[Touched]:
                nonlocal path
                path = _place(whole, catalog, _file_name(upload))
                return [(path, "written")]

            place.root.perform(act, (catalog.path,) if catalog.path else (), who.author)

    at(service, who, upload.catalog, work)
    service.store.change(lambda change: _done(change, sending, path), who.author)
    parcels.drop_origin(place, upload.key)


def _expect(service: Service, who: Who, sending: Sending, inode: int) -> None:
    """Have the log know the file before it gets its place; see `recovered`."""

    def job(change: Change) -> None:
        upload = change.library.upload(sending.number)
        if upload is not None and upload.file != inode:
            change.put(msgspec.structs.replace(upload, file=inode), sending.number)

    if sending.upload.file != inode:
        service.store.change(job, who.author)


def _place(whole: parcels.Whole, catalog: Target, name: str) -> bytes:
    """Rename a file to its place, under a free name; on the observer's thread."""
    place, above = catalog.place, catalog.path
    with place.beneath.pinned():
        catalog.check()
        with place.beneath.directory(above) as fd:
            taken = {os.fsencode(each) for each in os.listdir(fd)}  # noqa: PTH208 - of a descriptor
            hides = lambda each: place.root.hides(_join(above, each))  # noqa: E731 - of this place
            free = free_name(name, "file", taken, hides)
            whole.rename(fd, free)
    return _join(above, free)


def recovered(service: Service, who: Who, sending: Sending) -> Sending:
    """Return an upload as it is after a crash that came when all its bytes were there.

    It may have got its place without the log being told. Then it is found there by its inode
    number, and is done. If it is nowhere, it is to be sent again.

    Raises:
        LibraryError: its catalog is gone.
    """
    upload, place = sending.upload, sending.place
    if parcels.inode(place, upload.key) and not upload.file:
        return sending
    path = _found(service, who, sending)
    if path is not None:
        place.root.perform(lambda: [(path, "written")], (path,), who.author)
        done = service.store.change(lambda change: _done(change, sending, path), who.author)
        parcels.drop_origin(place, upload.key)
        return sending._replace(upload=done)
    if parcels.inode(place, upload.key):
        return sending
    return sending._replace(
        upload=service.store.change(lambda change: _lost(change, sending), FACE)
    )


def _found(service: Service, who: Who, sending: Sending) -> bytes | None:
    """Return the path of the file that came of an upload, or None."""
    upload, place = sending.upload, sending.place
    with service.store.reading() as view:
        reading = Reading(view, who.user, service)
        _, above = reading.path(upload.catalog)
        fs = reading.node(upload.catalog).state.fs
        new = (n for n in view.tree.by_file(fs, upload.file) if n.number > sending.number)
        paths = [reading.path(n.number)[1] for n in new if n.state.size == upload.size]
    found = parcels.placed(place, above, upload.file, upload.size) if upload.file else None
    return found or next(iter(paths), None)


def _lost(change: Change, sending: Sending) -> Upload:
    upload = msgspec.structs.replace(sending.upload, sizes=(0, *sending.upload.sizes[1:]), file=0)
    change.put(upload, sending.number)
    return upload


def _file_name(upload: Upload) -> str:
    ext, name = upload.note.ext or "", upload.name
    return f"{name}.{ext}" if ext and not name.lower().endswith(f".{ext.lower()}") else name


def _join(above: bytes, name: bytes) -> bytes:
    return b"%b/%b" % (above, name) if above else name


def _done(change: Change, sending: Sending, path: bytes) -> Upload:
    upload = change.library.upload(sending.number)
    node = library_paths.number_at(change.tree, sending.place.name, path)
    if upload is None or node is None:
        raise LibraryError(DATABASE)
    note = msgspec.structs.replace(
        upload.note, node=node, uploaded_us=change.now_us, changed_us=change.now_us
    )
    upload = msgspec.structs.replace(upload, note=note)
    change.put(upload, sending.number)
    say(change, note)
    return upload


def say(change: Change, note: Note) -> None:
    """Say of the file what its upload says, once there is one."""
    if note.node == 0:
        return
    number, before = change.library.note(note.node) or (0, note)
    said = msgspec.structs.replace(before, thumb=note.thumb, screen=note.screen)
    if not number or said != before:
        change.put(said, number)
