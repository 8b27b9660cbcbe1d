"""The face as an ASGI application: requests in, answers out."""

import asyncio
import logging
import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote

from api.answers import Answer
from api.asgi import Headers, Message, Receive, Scope, Send
from api.beneath.staging import NewFile
from api.bodies import PIECE_BYTES, CutError, bodies, drain
from api.files.codings import takes_gzip
from api.files.dates import format_version, parse_date, parse_version
from api.files.download import OCTETS, Part, RawFields
from api.files.ranges import Range
from api.files.refusal import Fields, Refusal
from api.files.transfer import send_range, watching
from api.filetracker import download, history, listing
from api.filetracker.access import Gate
from api.filetracker.housekeeper import Housekeeper
from api.filetracker.intake import Claims, Intake
from api.filetracker.reasons import shown, translated
from api.filetracker.request import Request, concerns, read
from api.filetracker.store import Change, Staged, Store
from api.filetracker.stored import Stored
from api.filetracker.together import AloneError, Together, Upload
from api.threads import Threads
from api.zerocopy import has_zero_copy
from eventlog.clock import Clock

THREADS: Final = 32
"""Requests that may wait for the disk or the log at once."""

_QUICK_BYTES: Final = 32 * 1024
"""Files that are answered at once, on the event loop, when they are in memory."""

_CONDITIONS: Final = frozenset(
    {b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"}
)

_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json"
_JSON_LINES: Final = b"application/x-ndjson"
_JSON_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/json-lines")
_END: Final[Message] = {"type": "http.response.body", "body": b"", "more_body": False}
_VERSION_BODY: Final = b'{"protocol_versions": [2]}'
_METHODS: Final[Mapping[bytes, str]] = {
    b"files": "GET, HEAD, PUT, DELETE",
    b"list": "GET, HEAD",
    b"version": "GET, HEAD",
    b"versions": "GET, HEAD",
}

_FAILURE: Final = Refusal(500, "the server failed; its log says more")

_log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How the store is served.

    Attributes:
        prefix: before the endpoints, without a slash at its end; may be empty.
        size_max: the largest file that is taken, bytes; None for any.
        fallback_url: server that clients are sent to for files that are missing here; may be "".
        keep_days: how long old versions are kept; None for ever.
    """

    prefix: bytes = b""
    size_max: int | None = None
    fallback_url: str = ""
    keep_days: float | None = None


class Filetracker:
    """Serves a store.

    Args:
        store: the files.
        gate: who may use it.
        settings: how.
        clock: time.
    """

    def __init__(self, store: Store, gate: Gate, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._gate = gate
        self._settings = settings
        self._clock = clock
        self._files = settings.prefix + b"/files/"
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="filetracker")
        self._threads = Threads(self._executor)
        self._together = Together(store, self._executor, settings.size_max)
        self._housekeeper = Housekeeper(store, clock, settings.keep_days)
        self._housekeeper.start()

    def close(self) -> None:
        """Wait for what is being done; nothing is accepted afterwards."""
        self._housekeeper.stop()
        self._store.packer.close()
        self._executor.shutdown()

    def concerns(self, raw_path: bytes) -> bool:
        """Say whether a request is for this face.

        Args:
            raw_path: of the target, still encoded.
        """
        return concerns(raw_path, self._settings.prefix)

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer the plainest request for a small file that is in memory, or return None.

        Args:
            path: as on the request line, still encoded.
            query: without the question mark.
            headers: names in lower case.
        """
        if query or b"%" in path or not path.startswith(self._files):
            return None
        authorization = codings = ""
        for name, value in headers:
            if name == b"authorization":
                authorization = value.decode("latin-1")
            elif name == b"accept-encoding":
                codings += "," + value.decode("latin-1")
            elif name in _CONDITIONS:
                return None
        try:
            self._gate.author(authorization, writes=False)
        except Refusal:
            return None
        found = self._store.read_cached(
            path[len(self._files) :], _QUICK_BYTES, pack=takes_gzip({"accept-encoding": codings})
        )
        if found is None:
            return None
        stored, data = found
        fields = download.describe(stored.version, stored.etag) + download.measures(stored)
        told = tuple((name.decode(), value.decode()) for name, value in fields)
        return Answer(data, 200, told, OCTETS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        begun = _Begun(send)
        try:
            await self._answer(scope, receive, begun)
        except Refusal as refusal:
            await _refuse(refusal, scope["method"], receive, begun)
        except CutError:
            return  # nobody listens, or what was begun cannot be ended: the server closes
        except Exception as error:  # noqa: BLE001 - logged, and the client is told
            _log.error("%s %r failed", scope["method"], scope["raw_path"], exc_info=error)
            if not begun:
                await _refuse(
                    Refusal(500, "the server failed; its log says more"), "", receive, begun
                )

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = read(scope, self._settings.prefix)
        writes = request.method not in ("GET", "HEAD")
        author = self._gate.author(request.fields.get("authorization", ""), writes=writes)
        allowed = _METHODS.get(request.endpoint)
        if allowed is None:
            endpoint = shown(request.endpoint)
            raise Refusal(400, f'Unknown endpoint "{endpoint}", expected "files" or "list"')
        if request.method not in allowed.split(", "):
            raise Refusal(405, f"only {allowed} are offered here", (("allow", allowed),))
        if request.method == "PUT":
            await self._put(self._change(request, author), receive, send)
        elif request.method == "DELETE":
            await self._delete(self._change(request, author), send)
        elif request.endpoint == b"files":
            await self._get(request, receive, send, zero_copy=has_zero_copy(scope))
        elif request.endpoint == b"list":
            await self._list(request, receive, send)
        elif request.endpoint == b"versions":
            await self._history(request, send)
        else:
            await _send_whole(200, [(b"content-type", _JSON)], _VERSION_BODY, send)

    def _change(self, request: Request, author: str) -> Change:
        text = request.query.get("last_modified")
        if text is None:
            raise Refusal(400, '"?last-modified=" is required')
        version = parse_version(text, self._now())
        return Change(request.path, version, author, request.fields)

    def _now(self) -> int:
        return self._clock.now_us() // 1_000_000

    async def _put(self, change: Change, receive: Receive, send: Send) -> None:
        claims = Claims.read(change.fields, self._settings.size_max)
        pieces = bodies(receive)
        if claims.length is not None and claims.length <= PIECE_BYTES:
            data = b"".join([piece async for piece in pieces])
            version = await self._put_small(Upload(change, claims, data))
        else:
            begin = partial(self._store.begin, change, claims.size or claims.length or 0)
            new = await self._threads.run(begin)
            try:
                intake = Intake(new.fd, claims, self._settings.size_max)
                async for piece in pieces:
                    await self._threads.run(partial(_feed, intake, piece, change.path))
                version = await self._threads.run(lambda: self._place(intake, change, new))
            finally:
                await self._threads.run(new.__exit__)
        fields = [(b"last-modified", format_version(version).encode()), (b"content-type", _TEXT)]
        await _send_whole(200, fields, b"", send)

    async def _put_small(self, upload: Upload) -> int:
        try:
            return await self._together.put(upload)
        except AloneError:
            return await self._threads.run(lambda: self._put_alone(upload))

    def _put_alone(self, upload: Upload) -> int:
        """Do all of it in one go, as most files are small."""
        change, claims, body = upload
        size = claims.size or len(body)
        with self._store.beneath.pinned(), self._store.begin(change, size) as new:
            intake = Intake(new.fd, claims, self._settings.size_max)
            _feed(intake, body, change.path)
            return self._place(intake, change, new)

    def _place(self, intake: Intake, change: Change, new: NewFile) -> int:
        return self._store.put(Staged(change, new, intake.finish()))

    async def _delete(self, change: Change, send: Send) -> None:
        await self._threads.run(lambda: self._store.delete(change))
        await _send_whole(200, [(b"content-type", _TEXT)], b"", send)

    async def _get(
        self, request: Request, receive: Receive, send: Send, *, zero_copy: bool
    ) -> None:
        stored = self._open_cached(request) or await self._open_patiently(request)
        try:
            answer = download.plan(request, stored)
            await send(_start(answer.status, answer.fields))
            if request.method == "GET":
                async with watching(receive) as left:
                    await self._send_parts(stored, answer.parts, send, left, zero_copy=zero_copy)
            await send(_END)
        finally:
            os.close(stored.fd)

    def _open_cached(self, request: Request) -> Stored | None:
        """Open a file if that keeps nobody waiting, and nothing special is asked for."""
        if "version" in request.query or takes_gzip(request.fields):
            return None
        return self._store.open_cached(request.path)

    async def _open_patiently(self, request: Request) -> Stored:
        """Open a file in a thread that may wait for the disk, or say where it may be."""
        try:
            return await self._threads.run(lambda: self._open(request))
        except Refusal as refusal:
            # The other server knows of one version only, which need not be the one asked for.
            is_elsewhere = bool(self._settings.fallback_url) and "version" not in request.query
            if refusal.status == 404 and is_elsewhere:  # noqa: PLR2004 - of HTTP
                raise self._elsewhere(request) from refusal
            raise

    def _open(self, request: Request) -> Stored:
        stored = self._open_plain(request)
        if not takes_gzip(request.fields):
            return stored
        try:
            with translated(request.path):
                return self._store.packer.choose(stored)
        except BaseException:
            os.close(stored.fd)
            raise

    def _open_plain(self, request: Request) -> Stored:
        text = request.query.get("version")
        if text is None:
            return self._store.open(request.path)
        version = int(text) if re.fullmatch("[0-9]{1,12}", text) else parse_date(text)
        if version is None:
            raise Refusal(400, '"?version=" is neither a date nor seconds since 1970')
        return self._store.open_version(request.path, version)

    async def _history(self, request: Request, send: Send) -> None:
        found = await self._threads.run(lambda: self._store.history(request.path))
        await _send_whole(
            200, [(b"content-type", _JSON)], history.encode(request.path, found), send
        )

    async def _send_parts(
        self,
        stored: Stored,
        parts: list[Part],
        send: Send,
        left: asyncio.Event,
        *,
        zero_copy: bool,
    ) -> None:
        for part in parts:
            if isinstance(part, Range):
                await send_range(self._threads, stored.fd, part, send, left, zero_copy=zero_copy)
            else:
                await send({"type": "http.response.body", "body": part, "more_body": True})

    def _elsewhere(self, request: Request) -> Refusal:
        location = f"{self._settings.fallback_url.rstrip('/')}/files/{quote(request.path)}"
        return Refusal(307, "the other server may have it", (("location", location),))

    async def _list(self, request: Request, receive: Receive, send: Send) -> None:
        text = request.query.get("last_modified")
        cutoff = self._now() if text is None else parse_version(text, self._now())
        is_json = any(kind in request.fields.get("accept", "") for kind in _JSON_TYPES)
        line = listing.as_json(self._store.digests) if is_json else listing.as_text
        pieces = listing.pieces(self._store, request.path, cutoff, line)
        try:
            piece = await self._threads.run(lambda: _first(pieces, request.path))
            await send(_start(200, [(b"content-type", _JSON_LINES if is_json else _TEXT)]))
            async with watching(receive) as left:
                while piece is not None and request.method == "GET":
                    if left.is_set():
                        raise CutError
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    piece = await self._threads.run(lambda: next(pieces, None))
        finally:
            await self._threads.run(pieces.close)
        await send(_END)


class _Begun:
    """Sends, and is true as soon as an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_begun = False

    def __bool__(self) -> bool:
        return self._has_begun

    async def __call__(self, message: Message) -> None:
        self._has_begun = True
        await self._send(message)


def _feed(intake: Intake, data: bytes, path: bytes) -> None:
    with translated(path):
        intake.feed(data)


def _first(pieces: Iterator[bytes], path: bytes) -> bytes | None:
    """Return the first piece of a list.

    Raises:
        Refusal: there is no such directory.
    """
    try:
        with translated(path):
            return next(pieces, None)
    except Refusal as refusal:
        if refusal.status in (404, 409):
            raise Refusal(400, "Path doesn't exist or is not a directory") from refusal
        raise


async def _refuse(refusal: Refusal, method: str, receive: Receive, send: Send) -> None:
    """Send a reason, and take the rest of what the client sends, so that it hears it."""
    fields: Fields = (("x-exception", refusal.reason), *refusal.fields)
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields]
    body = f"{refusal.reason}\n".encode()
    length = (b"content-length", b"%d" % len(body))
    has_body = method not in ("GET", "HEAD", "DELETE", "")
    close = [(b"connection", b"close")] if has_body else []
    await send(_start(refusal.status, [*raw, (b"content-type", _TEXT), length, *close]))
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if has_body:
        await drain(receive)
    await send(_END)


async def _send_whole(status: int, fields: RawFields, body: bytes, send: Send) -> None:
    await send(_start(status, [*fields, (b"content-length", b"%d" % len(body))]))
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _start(status: int, fields: RawFields) -> Message:
    return {"type": "http.response.start", "status": status, "headers": fields}
