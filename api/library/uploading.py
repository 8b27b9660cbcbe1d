"""Receives the bytes of uploads as iSync's clients send them: a form whose parts are named."""

import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from multipart import (  # type: ignore[import-untyped]  # it has no types
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from api.asgi import Receive
from api.bodies import CutError, bodies
from api.library import uploads
from api.library.accounts import Accounts
from api.library.call import Call, Service
from api.library.finishing import Sending
from api.library.guarding import guarded
from api.library.incoming import Incoming
from api.library.parameters import Parameters
from api.library.parcels import Parcel
from api.library.progress import Progress
from api.library.wire import BAD_PARAMETER, NOT_LOGGED_IN, Json, LibraryError
from api.threads import Threads
from eventlog.library import Part

_PARTS: Final = {part.name.lower(): part for part in Part}
_OFFSETS: Final = {Part.ORIGIN: "obp", Part.THUMB: "tbp", Part.SCREEN: "sbp"}
_DIGESTS: Final = ("sha1", "md5")
_SEGMENTS_MAX: Final = 16

PATIENCE_SECONDS: Final = 10.0
"""How long is waited for another request to have on the disk what it got."""

REMEMBERED_MAX: Final = 1_000
"""Uploads of which it is known which request was the newest."""

PIECE_BYTES: Final = 2**16
"""What is written at once. What of a piece came before a cut is lost, so it is not large."""


class Busy:
    """Sees to it that one request at a time writes to an upload: the one that came last.

    Whoever resumes an upload has given the request before up, though the server may not have
    noticed: a line that breaks is often silent. So an older request never writes after a newer one.
    """

    def __init__(self) -> None:
        self._writing: dict[int, Incoming] = {}
        self._newest: OrderedDict[int, int] = OrderedDict()

    @contextlib.asynccontextmanager
    async def alone(self, number: int, incoming: Incoming) -> AsyncIterator[None]:
        """Write to an upload alone; the request that does so is ended first.

        Args:
            number: of the upload.
            incoming: of the request that is to write.

        Raises:
            LibraryError: another request is newer or faster, or does not end.
        """
        self._come(number, incoming.turn)
        before = self._writing.get(number)
        if before is not None:
            before.give_way()
            await before.wait_over(PATIENCE_SECONDS)
        if number in self._writing or self._newest.get(number) != incoming.turn:
            raise LibraryError(BAD_PARAMETER, 409)
        self._writing[number] = incoming
        try:
            yield
        except CutError as error:
            if not incoming.gave_way:
                raise
            raise LibraryError(BAD_PARAMETER, 409, (("connection", "close"),)) from error
        finally:
            del self._writing[number]
            incoming.end()

    def _come(self, number: int, turn: int) -> None:
        """Note that a request has come to write to an upload.

        Raises:
            LibraryError: a newer one came already.
        """
        if self._newest.get(number, 0) > turn:
            raise LibraryError(BAD_PARAMETER, 409)
        self._newest[number] = turn
        self._newest.move_to_end(number)
        if len(self._newest) > REMEMBERED_MAX:
            self._newest.popitem(last=False)


class Uploading:
    """Answers `uploadFile.icc`.

    Args:
        service: what requests work with.
        threads: to write in.
        accounts: say who a client is.
    """

    def __init__(self, service: Service, threads: Threads, accounts: Accounts) -> None:
        self._service = service
        self._threads = threads
        self._accounts = accounts
        self.busy = Busy()

    async def receive(self, call: Call, receive: Receive) -> Json:
        """Take what a request brings; return what the client is told.

        Raises:
            LibraryError: it cannot be taken; what came before stays.
            CutError: the client went away; what came before stays.
        """
        incoming = Incoming(receive)
        try:
            call, number = await self._threads.run(lambda: guarded(self._begin, call))
            async with self.busy.alone(number, incoming):
                find = uploads.found
                sending = await self._threads.run(
                    lambda: guarded(find, self._service, call.known, number)
                )
                return await self._receive(call, sending, incoming)
        except LibraryError:
            await incoming.drain()
            raise

    def _begin(self, call: Call) -> tuple[Call, int]:
        """Return the request with whose it is, and the number of the upload, which is theirs."""
        who = self._accounts.who(call.fields.get("cookie", ""))
        if who is None:
            raise LibraryError(NOT_LOGGED_IN)
        number = call.parameters.integer("id")
        return call._replace(who=who), uploads.found(self._service, who, number).number

    async def _receive(self, call: Call, sending: Sending, receive: Receive) -> Json:
        progress = Progress(self._service, call.known, sending)
        form = Form(sending, call.parameters, call.fields.get("content-type", ""), progress)
        try:
            async for piece in bodies(receive, PIECE_BYTES):
                await self._threads.run(lambda: guarded(form.feed, piece))  # noqa: B023 - awaited
            await self._threads.run(lambda: guarded(form.finish))
        finally:
            await self._threads.run(lambda: guarded(self._settle, call, sending, form))
        return await self._threads.run(lambda: guarded(self._told, call, sending, form))

    def _settle(self, call: Call, sending: Sending, form: "Form") -> None:
        """Have what came on the disk, and in the log."""
        form.stop()
        if form.has_written:
            uploads.advance(self._service, call.known, sending, form.whole)

    def _told(self, call: Call, sending: Sending, form: "Form") -> Json:
        with call.reading() as reading:
            info = uploads.upload_info(reading, sending.number)
        return {"fileInfo": info, "check": form.digests or None}


def _parser(media: str) -> PushMultipartParser | None:
    """Return what reads a form of a type; None when it is of another, and may only be empty."""
    try:
        kind, options = parse_options_header(media)
        if kind == "multipart/form-data" and options.get("boundary"):
            return PushMultipartParser(options["boundary"], max_segment_count=_SEGMENTS_MAX)
    except ValueError as error:
        raise LibraryError(BAD_PARAMETER) from error
    return None


class Form:
    """A form as it comes in. The field names do not matter, the file names say which part it is.

    Args:
        sending: the upload.
        parameters: of the request: where each part goes on, which digest is wanted.
        media: the field Content-Type.
        progress: is told what came of the origin.

    Attributes:
        whole: parts of which all that the request has came.
        digests: of them, if wanted.
        has_written: whether anything was.

    Raises:
        LibraryError: it is no form, or a parameter is wrong.
    """

    def __init__(
        self, sending: Sending, parameters: Parameters, media: str, progress: Progress
    ) -> None:
        self.whole: set[Part] = set()
        self.digests: dict[str, str] = {}
        self.has_written = False
        self._sending = sending
        self._progress = progress
        self._offsets = {
            part: parameters.optional_integer(name) or 0 for part, name in _OFFSETS.items()
        }
        self._digest = parameters.optional_text("cm", 10) or ""
        self._parser = _parser(media)
        self._part: Part | None = None
        self._parcel: Parcel | None = None
        if self._digest not in ("", *_DIGESTS):
            raise LibraryError(BAD_PARAMETER)

    def feed(self, data: bytes) -> None:
        """Take more of the body.

        Raises:
            LibraryError: it is no form, or more than was announced.
            OSError: it cannot be written.
        """
        if self._parser is None:
            if data:
                raise LibraryError(BAD_PARAMETER)
            return
        try:
            for event in self._parser.parse(data) if data else ():
                self._take(event)
        except MultipartError as error:
            raise LibraryError(BAD_PARAMETER) from error

    def finish(self) -> None:
        """End the form.

        Raises:
            LibraryError: it was cut off.
        """
        try:
            if self._parser is not None:
                self._parser.close()
        except MultipartError as error:
            raise LibraryError(BAD_PARAMETER) from error

    def stop(self) -> None:
        """Have on the disk what was written, and close it."""
        if self._parcel is not None:
            self._parcel.sync()
            self._parcel.__exit__()
            self._parcel = None

    def _take(self, event: "MultipartSegment | bytes | None") -> None:
        if isinstance(event, MultipartSegment):
            self._open(event)
        elif event is None:
            self._close()
        elif self._parcel is not None:
            self._parcel.append(bytes(event))
            if self._part is Part.ORIGIN:
                self._progress.came(self._parcel, len(event))

    def _open(self, segment: MultipartSegment) -> None:
        if segment.filename is None:
            return  # a plain field, which means nothing here
        part = _PARTS.get(segment.filename)
        if part is None:
            raise LibraryError(BAD_PARAMETER)
        if self._sending.is_done and part is Part.ORIGIN:
            return  # it is a file already: what comes again changes nothing
        sending = self._sending
        self._part = part
        self._parcel = Parcel(
            sending.place, sending.upload.key, part, sending.most(part), self._offsets[part]
        )
        self.has_written = True

    def _close(self) -> None:
        if self._parcel is not None and self._part is not None:
            self._parcel.sync()
            if self._digest:
                self.digests[self._part.name.lower()] = self._parcel.digest(self._digest)
            self.whole.add(self._part)
        self.stop()
