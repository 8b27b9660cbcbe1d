"""The same uploads as tus 1.0 (https://tus.io/protocols/resumable-upload), for existing clients.

Creation, expiration, checksum and termination are offered. The metadata of an upload must have
`filename` and `catalogId`, which is the number of a catalog. A client is known by the cookie of its
login, or by the same token as a bearer token.
"""

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from api.asgi import Receive, Scope, Send
from api.bodies import bodies
from api.files.dates import format_version
from api.library import uploads
from api.library.accounts import COOKIE, Accounts
from api.library.call import SECOND_US, Service, Who
from api.library.finishing import Sending
from api.library.guarding import guarded
from api.library.incoming import Incoming
from api.library.parameters import EXT_MAX, FILE_NAME_MAX
from api.library.parcels import Parcel
from api.library.progress import Progress
from api.library.uploading import PIECE_BYTES, Busy
from api.library.wire import (
    BAD_CATALOG,
    BAD_PARAMETER,
    DATABASE,
    NO_RIGHT,
    NOT_FOUND,
    NOT_LOGGED_IN,
    LibraryError,
)
from api.threads import Threads
from eventlog.library import Note, Part, Upload
from projections.library_types import mime_of, type_of

PREFIX: Final = b"/uploads"
VERSION: Final = "1.0.0"
EXTENSIONS: Final = "creation,expiration,checksum,termination"
ALGORITHMS: Final = ("sha1", "md5", "sha256")
METHODS: Final = ("OPTIONS", "POST", "HEAD", "PATCH", "DELETE")

_PATH: Final = re.compile(rb"/uploads(?:/([0-9]{1,15}))?/?")
_OFFSET_TYPE: Final = "application/offset+octet-stream"
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
_STATUS_OF: Final[Mapping[int, int]] = {
    NOT_LOGGED_IN: 401,
    NO_RIGHT: 403,
    NOT_FOUND: 404,
    BAD_CATALOG: 404,
    BAD_PARAMETER: 400,
    DATABASE: 503,
}
_WRONG_SUM: Final = 460
"""A status of the protocol's own."""

Fields = tuple[tuple[str, str], ...]


class TusError(Exception):
    """An answer with an error status.

    Args:
        status: of HTTP.
        reason: one line.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Answer(NamedTuple):
    """An answer without a body.

    Attributes:
        status: of HTTP.
        fields: of the header.
    """

    status: int
    fields: Fields = ()


class Tus:
    """Answers below `/uploads`.

    Args:
        service: what requests work with.
        threads: to work in.
        accounts: say who a client is.
        busy: sees to it that one request at a time writes to an upload.
    """

    def __init__(self, service: Service, threads: Threads, accounts: Accounts, busy: Busy) -> None:
        self._service = service
        self._threads = threads
        self._accounts = accounts
        self._busy = busy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            CutError: the client went away; what came before stays.
        """
        incoming = Incoming(receive)
        fields = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        try:
            answer, reason = await self._answer(scope, fields, incoming), ""
        except TusError as error:
            answer, reason = Answer(error.status), str(error)
        except LibraryError as error:
            status = _STATUS_OF.get(error.code, 400) if error.status == 200 else error.status  # noqa: PLR2004
            answer, reason = Answer(status, error.fields), str(error)
        if answer.status >= 400:  # noqa: PLR2004 - errors of HTTP
            await incoming.drain()
        await _send(answer, reason, send)

    async def _answer(self, scope: Scope, fields: Mapping[str, str], receive: Incoming) -> Answer:
        method = fields.get("x-http-method-override", scope["method"]).upper()
        if method == "OPTIONS":
            return self._options()
        if fields.get("tus-resumable") != VERSION:
            raise TusError(412, f"this server speaks tus {VERSION}")
        match = _PATH.fullmatch(scope["raw_path"])
        number = int(match[1]) if match and match[1] else None
        who = await self._threads.run(lambda: guarded(self._who, fields))
        if number is None:
            if method != "POST":
                raise TusError(405, "uploads are begun by POST")
            return await self._threads.run(lambda: guarded(self._create, who, fields))
        sending = await self._found(who, number)
        if method == "HEAD":
            told = (
                ("upload-length", str(sending.upload.size)),
                ("upload-metadata", _told(sending.upload)),
                ("cache-control", "no-store"),
            )
            return Answer(200, (*_position(sending), *told))
        if method == "DELETE":
            async with self._busy.alone(sending.number, receive):
                await self._give_up(who, number)
            return Answer(204)
        if method == "PATCH":
            async with self._busy.alone(sending.number, receive):
                sending = await self._found(who, number)  # another request may have gone on
                return await self._patch(who, sending, fields, receive)
        raise TusError(405, f"only {', '.join(METHODS)} are offered here")

    async def _found(self, who: Who, number: int) -> Sending:
        find = uploads.found
        return await self._threads.run(lambda: guarded(find, self._service, who, number))

    async def _give_up(self, who: Who, number: int) -> None:
        sending = await self._found(who, number)  # another request may have ended it
        if sending.is_done:
            raise TusError(403, "it is a file already, which deleteFiles.icc deletes")
        work = uploads.abandon
        await self._threads.run(lambda: guarded(work, self._service, who, sending))

    def _options(self) -> Answer:
        most = self._service.settings.upload_max
        told = [
            ("tus-version", VERSION),
            ("tus-extension", EXTENSIONS),
            ("tus-checksum-algorithm", ",".join(ALGORITHMS)),
        ]
        return Answer(204, tuple(told + ([("tus-max-size", str(most))] if most else [])))

    def _who(self, fields: Mapping[str, str]) -> Who:
        scheme, _, token = fields.get("authorization", "").partition(" ")
        bearer = f"{COOKIE}={token.strip()}" if scheme.lower() == "bearer" else ""
        who = self._accounts.who(bearer or fields.get("cookie", ""))
        if who is None:
            raise LibraryError(NOT_LOGGED_IN)
        return who

    def _create(self, who: Who, fields: Mapping[str, str]) -> Answer:
        if "upload-concat" in fields:
            raise TusError(400, "concatenation is not offered here")
        size = _number(fields, "upload-length")
        most = self._service.settings.upload_max
        if most is not None and size > most:
            raise TusError(413, f"at most {most} bytes are taken")
        told = _metadata(fields.get("upload-metadata", ""))
        name, catalog = told.get("filename", ""), told.get("catalogId", "")
        if not name.strip() or len(name) > FILE_NAME_MAX or not _NUMBER.fullmatch(catalog):
            raise TusError(400, "Upload-Metadata needs a filename and a catalogId")
        raw = name.encode("utf-8", "replace")
        ext = os.path.splitext(name)[1][1:]  # noqa: PTH122 - no path
        note = Note(
            0,
            name=name,
            ext=ext if 0 < len(ext) <= EXT_MAX else None,
            type=int(type_of(mime_of(raw), raw)),
        )
        number = uploads.begin(self._service, who, int(catalog), size, note)
        sending = uploads.found(self._service, who, number)
        return Answer(201, (("location", f"/uploads/{number}"), *_expires(sending)))

    async def _patch(
        self, who: Who, sending: Sending, fields: Mapping[str, str], receive: Incoming
    ) -> Answer:
        if fields.get("content-type", "") != _OFFSET_TYPE:
            raise TusError(415, f"the type must be {_OFFSET_TYPE}")
        begin = _number(fields, "upload-offset")
        if begin != sending.upload.sizes[Part.ORIGIN]:
            raise TusError(409, f"the upload is at {sending.upload.sizes[Part.ORIGIN]}")
        checksum = _checksum(fields.get("upload-checksum"))
        if not sending.is_done:
            await self._append(who, sending, begin, checksum, receive)
        work: Callable[[], Sending] = lambda: guarded(  # noqa: E731 - for the thread
            uploads.found, self._service, who, sending.number
        )
        sending = await self._threads.run(work)
        return Answer(204, (*_position(sending), *_expires(sending)))

    async def _append(
        self,
        who: Who,
        sending: Sending,
        begin: int,
        checksum: tuple[str, bytes] | None,
        receive: Incoming,
    ) -> None:
        """Append what a request brings; of one whose checksum is wrong or that was cut, nothing."""
        place, upload = sending.place, sending.upload
        parcel = await self._threads.run(
            lambda: guarded(Parcel, place, upload.key, Part.ORIGIN, upload.size, begin)
        )
        found = hashlib.new(checksum[0] if checksum else "md5", usedforsecurity=False)
        is_right = checksum is None
        progress = Progress(self._service, who, sending) if is_right else None
        try:
            async for piece in bodies(receive, PIECE_BYTES):
                found.update(piece) if checksum else None
                if parcel.size + len(piece) > upload.size:
                    raise TusError(413, f"the upload has {upload.size} bytes")
                await self._threads.run(lambda: guarded(_append, parcel, piece, progress))  # noqa: B023 - awaited
            is_right = checksum is None or found.digest() == checksum[1]
        finally:
            await self._threads.run(lambda: guarded(_settle, parcel, None if is_right else begin))
            advance = uploads.advance
            await self._threads.run(lambda: guarded(advance, self._service, who, sending, set()))
        if not is_right:
            raise TusError(_WRONG_SUM, "the checksum is another one")


def concerns(raw_path: bytes) -> bool:
    """Say whether a request is for this, by the encoded path of its target."""
    return raw_path.startswith(PREFIX) and _PATH.fullmatch(raw_path) is not None


def _append(parcel: Parcel, piece: bytes, progress: Progress | None) -> None:
    parcel.append(piece)
    if progress is not None:  # what has a checksum counts only when all of it came
        progress.came(parcel, len(piece))


def _settle(parcel: Parcel, begin: int | None) -> None:
    """Have what was written on the disk; or all from somewhere on dropped."""
    with parcel:
        if begin is not None:
            os.ftruncate(parcel.fd, begin)
        parcel.sync()


def _position(sending: Sending) -> Fields:
    return (("upload-offset", str(sending.upload.sizes[Part.ORIGIN])), *_expires(sending))


def _expires(sending: Sending) -> Fields:
    if sending.is_done:
        return ()
    return (("upload-expires", format_version(sending.upload.expires_us // SECOND_US)),)


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not _NUMBER.fullmatch(text):
        raise TusError(400, f"{name} must be a number")
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    """Read pairs of a key and a value in base64, with commas between them."""
    found: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode("utf-8")
        except (binascii.Error, ValueError) as error:
            raise TusError(400, "Upload-Metadata is malformed") from error
    return found


def _told(upload: Upload) -> str:
    """Return what is known of the metadata that an upload was begun with; see `_metadata`."""
    told = {"filename": upload.name, "catalogId": str(upload.catalog)}
    coded = {
        key: base64.b64encode(value.encode("utf-8", "replace")).decode()
        for key, value in told.items()
    }
    return ",".join(f"{key} {value}" for key, value in coded.items())


def _checksum(text: str | None) -> tuple[str, bytes] | None:
    if text is None:
        return None
    kind, _, value = text.partition(" ")
    try:
        if kind in ALGORITHMS:
            return kind, base64.b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise TusError(400, "Upload-Checksum is malformed") from error
    raise TusError(400, f"checksums are {', '.join(ALGORITHMS)}")


async def _send(answer: Answer, reason: str, send: Send) -> None:
    body = f"{reason}\n".encode() if reason else b""
    fields: Fields = (("tus-resumable", VERSION), *dict(answer.fields).items())
    head = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    head += [(b"x-content-type-options", b"nosniff")]
    if answer.status == 412:  # noqa: PLR2004 - another version is wanted
        head += [(b"tus-version", VERSION.encode())]
    if answer.status != 204:  # noqa: PLR2004 - has no body and no length
        head += [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": answer.status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
