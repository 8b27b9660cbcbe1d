"""Uploads: announced first, then sent by position, resumed after any cut, and only then files."""

import contextlib
import secrets
from typing import Final

import msgspec

from api.library import parcels
from api.library.accounts import changed_help
from api.library.call import FACE, SECOND_US, Call, Place, Reading, Reply, Service, Who
from api.library.finishing import Sending, finish, recovered, say
from api.library.notes import UPLOADED, file_fields
from api.library.parameters import EXT_MAX, FILE_NAME_MAX, MEMO_MAX
from api.library.shown import file_info, seconds
from api.library.wire import (
    BAD_CATALOG,
    BAD_PARAMETER,
    NOT_FOUND,
    Json,
    LibraryError,
)
from api.served import RootUnavailableError
from eventlog.library import Kind, Note, Part, Upload
from projections.library_store import Change

_KEY_BYTES: Final = 16


def announce(call: Call) -> Reply:
    """Answer `uploadFileInfo.icc`."""
    parameters = call.parameters
    size = parameters.integer("size")
    name = parameters.text("name", FILE_NAME_MAX)
    given = file_fields(parameters)
    if "type" not in given or not parameters.text("ext", EXT_MAX) or not name.strip():
        raise LibraryError(BAD_PARAMETER)
    note = Note(
        0,
        name=name,
        memo=parameters.optional_text("memo", MEMO_MAX),
        help=changed_help(Note(0).help, parameters, call.service.now_us),
        **given,
    )
    number = begin(call.service, call.known, parameters.integer("cid"), size, note)
    with call.reading() as reading:
        return Reply(upload_info(reading, number))


def begin(service: Service, who: Who, catalog: int, size: int, note: Note) -> int:
    """Begin an upload; return its number.

    Args:
        service: what the library is.
        who: uploads.
        catalog: number of the catalog that it is for.
        size: bytes announced.
        note: what is said of the file; with a name.

    Raises:
        LibraryError: it cannot be begun.
    """
    most = service.settings.upload_max
    if size < 0 or (most is not None and size > most):
        raise LibraryError(BAD_PARAMETER)
    with service.store.reading() as view:
        try:
            Reading(view, who.user, service).catalog(catalog, write=True)
        except LibraryError as error:
            raise LibraryError(BAD_CATALOG if error.code == NOT_FOUND else error.code) from error

    def job(change: Change) -> int:
        said = msgspec.structs.replace(note, uploader=who.number)
        key, now = secrets.token_hex(_KEY_BYTES), service.now_us
        name, until = note.name or "file", now + round(service.settings.upload_seconds * SECOND_US)
        return change.put(Upload(who.number, catalog, key, name, size, (0, 0, 0), said, until, now))

    number = service.store.change(job, who.author)
    if size == 0:
        finish(service, who, found(service, who, number))
    return number


def found(service: Service, who: Who, number: int) -> Sending:
    """Return an upload of one's own, also by the number of the file that it has become.

    Raises:
        LibraryError: there is none; or its catalog is gone, or may not be written to any more.
    """
    with service.store.reading() as view:
        reading = Reading(view, who.user, service)
        number, upload = _known(reading, who, number)
        row = reading.row(upload.note.node or upload.catalog, write=True)
        sending = Sending(number, upload, service.places[reading.roots[row.root]])
    if sending.is_whole:
        return recovered(service, who, sending)
    return sending._replace(upload=_as_on_disk(sending))


def _known(reading: Reading, who: Who, number: int) -> tuple[int, Upload]:
    upload = reading.library.upload(number)
    found = [(number, upload)] if upload else reading.library.uploaded(number)
    if not found or found[0][1].user != who.number:
        raise LibraryError(NOT_FOUND)
    return found[0]


def _as_on_disk(sending: Sending) -> Upload:
    """Return an upload with no more bytes than are there.

    A crash may have come while some of it was sent once more.
    """
    upload = sending.upload
    if sending.is_done:
        return upload
    now = parcels.sizes(sending.place, upload.key)
    fewer = [min(pair) for pair in zip(upload.sizes, now, strict=True)]
    return msgspec.structs.replace(upload, sizes=(fewer[0], fewer[1], fewer[2]))


def listed(call: Call) -> Reply:
    """Answer `uploadingInfo.icc`: one's own uploads that are not whole yet."""
    with call.reading() as reading:
        found = [
            (number, upload, reading.media.row(upload.catalog))
            for number, upload in reading.library.uploads(call.known.number)
            if upload.note.node == 0
        ]
        places = {
            number: call.service.places[reading.roots[row.root]]
            for number, _, row in found
            if row is not None and row.root in reading.roots
        }
    return Reply([_shown(n, _as_far_as_seen(n, upload, places.get(n))) for n, upload, _ in found])


def _as_far_as_seen(number: int, upload: Upload, place: Place | None) -> Upload:
    """Return an upload as it is on the disk; as the log knows it while its root is away."""
    if place is not None:
        with contextlib.suppress(RootUnavailableError):
            return _as_on_disk(Sending(number, upload, place))
    return upload


def advance(service: Service, who: Who, sending: Sending, parts: set[Part]) -> None:
    """Record how far an upload is, by what is synced; make a file of it when it is whole.

    Args:
        service: what the library is.
        who: uploads.
        sending: the upload.
        parts: of which all of a request has arrived.
    """
    place, key = sending.place, sending.upload.key
    now = parcels.sizes(place, key)
    file = sending.upload.file
    if not sending.is_done:
        file = parcels.inode(place, key) if now[0] == sending.upload.size else 0

    def job(change: Change) -> Upload:
        upload = change.library.upload(sending.number)
        if upload is None:
            raise LibraryError(NOT_FOUND)
        until = service.now_us + round(service.settings.upload_seconds * SECOND_US)
        note = _with_thumbnails(upload.note, parts)
        kept = upload.sizes[:1] if sending.is_done else now[:1]
        upload = msgspec.structs.replace(
            upload, sizes=(kept[0], *now[1:]), note=note, expires_us=until, file=file
        )
        change.put(upload, sending.number)
        say(change, note)
        return upload

    upload = service.store.change(job, who.author)
    if not sending.is_done and upload.sizes[0] == upload.size:
        finish(service, who, sending._replace(upload=upload))


def abandon(service: Service, who: Who, sending: Sending) -> None:
    """End an upload that is no file yet; its bytes go."""
    service.store.change(
        lambda change: change.end(Kind.UPLOAD, sending.number, "abandoned"), who.author
    )
    parcels.discard(sending.place, sending.upload.key)


def upload_info(reading: Reading, number: int) -> Json:
    """Return the FileInfo of an upload, whole or not."""
    upload = reading.library.upload(number)
    if upload is None:
        raise LibraryError(NOT_FOUND)
    if upload.note.node:
        return file_info(reading, reading.file(upload.note.node))
    return _shown(number, upload)


def expire(service: Service) -> None:
    """End the uploads that nobody goes on with, and remove what lies on the disk of none.

    What lies on the disk is listed before the uploads are: so all that is listed has begun.
    """
    present = [(place, parcels.keys(place)) for place in service.places.values()]
    with service.store.reading() as view:
        unfinished = view.library.unfinished()
    for number, upload in unfinished:
        if upload.expires_us <= service.now_us:
            service.store.change(lambda change: change.end(Kind.UPLOAD, number, "over"), FACE)  # noqa: B023 - run at once
    with service.store.reading() as view:
        litter = [
            (place, key)
            for place, keys in present
            for key in keys
            if view.library.upload_keyed(key) is None
        ]
    for place, key in litter:
        parcels.discard(place, key)


def _with_thumbnails(note: Note, parts: set[Part]) -> Note:
    given = {
        name: UPLOADED
        for name, part in (("thumb", Part.THUMB), ("screen", Part.SCREEN))
        if part in parts
    }
    return msgspec.structs.replace(note, **given) if given else note


def _shown(number: int, upload: Upload) -> Json:
    note = upload.note
    return {
        "id": number,
        "uploadUserId": upload.user,
        "catalogId": upload.catalog,
        "name": note.name,
        "ext": note.ext,
        "createTime": seconds(note.created_us),
        "importTime": seconds(note.imported_us),
        "lastModifyTime": seconds(note.modified_us),
        "size": upload.size,
        "type": note.type,
        "duration": None if note.duration_ms is None else note.duration_ms / 1000,
        "width": note.width,
        "height": note.height,
        "orientation": note.orientation,
        "memo": note.memo,
        "helpInt": note.help.number,
        "helpText": note.help.text,
        "uploadingOriginSize": upload.sizes[Part.ORIGIN],
        "uploadingThumbSize": upload.sizes[Part.THUMB],
        "uploadingScreenSize": upload.sizes[Part.SCREEN],
    }
