"""The library as an ASGI application: requests in, answers out.

Where the seed's text and the program that iSync's clients were made for differ, this is what is
done. The wire is the program's; what the text promises beside it is kept as far as both can be.

- User names: the text says that case counts, the program ignores it. Case does not count, so that
  nobody can be mistaken for somebody else.
- `shareFileUrl.icc`: the data is the key itself, as in the program; `shareKey` stands beside it.
  With `count`, which neither knows, the file can be read so many times.
- A small thumbnail is 100 by 100 in the text and 160 by 160 in the program; it is 100 by 100, which
  every client can show. A picture that is smaller keeps its size, but is made anew all the same.
- Thumbnails are sent as what they are, JPEG or WebP; the program calls all of them mere bytes.
- `deleteCatalog.icc` and `deleteFiles.icc` answer "OK", as the program does.
- `rootIds` without rights are passed over; a single id without rights is not found. The program
  answers -10002 for some and data for others.
- `updateHelpInfo.icc` without fields is -10003; the program fails.
- Downloads of unknown ids are 404; the program redirects to nowhere.
- A share key that opens nothing is 404, with the code -10003 of the program. That answers 200,
  which a player or a browser takes for the file.
- A Range that cannot be read is passed over, as RFC 9110 wants; the program answers 417.
- Downloads are kept by clients only to be asked for again: what may be seen, may be hidden later.
- The `size` of a file is that of the file; `updateFile.icc` takes none, as the text would have it.
- `ext` is the ending of the file's name; the program gives Pillow's name of the format for scanned
  images, which the text does not know.
- An upload that is another user's is not found, with -10004, and a position beyond the end is
  -10003, with status 200 as the program has it; tus answers 404 and 409.
- A page of another origin changes nothing: -10002 and 403. The program knows no such thing.
- Passwords in the query of `login.icc` are taken, as the program does. They may end in the logs of
  proxies: clients should send them in the body.
"""

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final
from urllib.parse import unquote

from api.answers import Answer
from api.asgi import Headers, Message, Receive, Scope, Send
from api.bodies import CutError, bodies
from api.files.conditions import check_read
from api.files.download import Download, Part
from api.files.ranges import Range
from api.files.refusal import Refusal
from api.files.transfer import send_range, watching
from api.library import download, shares, tus, wire
from api.library.accounts import Accounts
from api.library.call import Call, Reply, Service, Who
from api.library.download import Opened
from api.library.guarding import guarded
from api.library.incoming import Incoming
from api.library.keeper import Keeper
from api.library.origins import check_origin
from api.library.parameters import BODY_MAX, Parameters
from api.library.routes import ROUTES, Kind, Route
from api.library.thumbs import Image, Thumbs, Wanted
from api.library.tus import Tus
from api.library.uploading import Uploading
from api.library.wire import (
    BAD_PARAMETER,
    DATABASE,
    NOT_FOUND,
    NOT_LOGGED_IN,
    LibraryError,
)
from api.threads import Threads
from api.zerocopy import has_zero_copy

THREADS: Final = 32
"""Requests that may wait for the disk or the log at once."""

MAKERS: Final = 4
"""Requests that may wait for a thumbnail to be made."""

LOGIN_THREADS: Final = 2
"""Logins at once; those who guess passwords must not take the others' threads."""

_PATH: Final = re.compile(r"/([A-Za-z]+)\.ic(\w*)(\.\w{1,16})?")
_END: Final = {"type": "http.response.body", "body": b"", "more_body": False}
_GREETED: Final = ("GET", "HEAD", "POST")
_OK: Final = 200
_WITH_FILE: Final = (200, 206)
_BAD_FILE: Final = 416
_FORBIDDEN: Final = 403
_STATUS_OF: Final = {NOT_LOGGED_IN: _FORBIDDEN, BAD_PARAMETER: _BAD_FILE, NOT_FOUND: 404}
"""Statuses of downloads, whose clients look at nothing else."""

_log = logging.getLogger(__name__)


class LibraryFace:
    """Serves the library.

    Args:
        service: what requests work with.
        thumbs: of pictures and videos.
        ended: called when it is closed.

    Attributes:
        service: what requests work with.
    """

    def __init__(self, service: Service, thumbs: Thumbs, ended: Callable[[], None]) -> None:
        self.service = service
        self._accounts = Accounts(service)
        self._thumbs = thumbs
        self._ended = ended
        self._makers = ThreadPoolExecutor(MAKERS, thread_name_prefix="library-thumbnails")
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="library")
        self._logins = ThreadPoolExecutor(LOGIN_THREADS, thread_name_prefix="library-login")
        self._threads = Threads(self._executor)
        self._uploading = Uploading(service, self._threads, self._accounts)
        self._tus = Tus(service, self._threads, self._accounts, self._uploading.busy)
        self._keeper = Keeper(service, thumbs)
        self._keeper.start()

    def close(self) -> None:
        """Wait for what is being done; nothing is accepted afterwards."""
        self._keeper.ask_to_stop()
        self._ended()
        self._keeper.stop()
        self._logins.shutdown()
        self._makers.shutdown()
        self._executor.shutdown()

    def look_after(self) -> None:
        """Do now what is done now and then.

        Raises:
            LogError: nothing can be stored.
        """
        self._keeper.once()

    def concerns(self, raw_path: bytes) -> bool:
        """Say whether a request is for this face.

        Args:
            raw_path: of the target, still encoded.
        """
        return (
            raw_path == b"/"
            or tus.concerns(raw_path)
            or (b".ic" in raw_path and _match(raw_path) is not None)
        )

    def quick(self, _path: bytes, _query: bytes, _headers: Headers) -> Answer | None:
        """Answer nothing at once: everything here asks the database."""
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        has_begun = False

        async def begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._serve(scope, receive, begin)
        except CutError:
            return  # nobody listens, or what was begun cannot be ended: the server closes
        except Exception as error:  # noqa: BLE001 - logged, and the client is told
            _log.error("%s %r failed", scope["method"], scope["raw_path"], exc_info=error)
            if not has_begun:
                await _send(wire.failure(DATABASE), send, 500)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_origin(scope["method"], _fields(scope))
            if scope["raw_path"] == b"/":
                await _greet(scope, send)
            elif tus.concerns(scope["raw_path"]):
                await self._tus(scope, receive, send)
            else:
                await self._answer(scope, receive, send)
        except LibraryError as error:
            await _send(wire.failure(error.code), send, error.status, error.fields)
        except Refusal as refusal:
            fields = (*refusal.fields, ("x-content-type-options", "nosniff"))
            await _send(wire.failure(BAD_PARAMETER), send, refusal.status, fields)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, route = _route(scope)
        fields = _fields(scope)
        address = (scope.get("client") or ("", 0))[0]
        call = Call(self.service, Parameters({}), None, address, fields)
        if route.kind is Kind.UPLOAD:
            parameters = Parameters.read(scope["query_string"], "", b"")
            call = call._replace(parameters=parameters)
            await _send(wire.success(await self._uploading.receive(call, receive)), send, 200)
            return
        body, media = await _body(receive), fields.get("content-type", "")
        call = call._replace(parameters=Parameters.read(scope["query_string"], media, body))
        if route.kind is Kind.IMAGE:
            await self._send_image(call, send)
            return
        if route.kind is Kind.FILE:
            await self._send_file(name, call, scope, receive, send)
            return
        if name == "login":
            loop = asyncio.get_running_loop()
            work = partial(guarded, self._accounts.log_in, call)
            reply = await loop.run_in_executor(self._logins, work)
        else:
            reply = await self._threads.run(lambda: self._reply(name, route, call))
        await _send(wire.success(reply.data, reply.more), send, 200, reply.fields)

    def _reply(self, name: str, route: Route, call: Call) -> Reply:
        return guarded(self._handle, name, route, call)

    def _handle(self, name: str, route: Route, call: Call) -> Reply:
        known = call._replace(who=self._who(call))
        if name == "logout":
            return self._accounts.log_out(known)
        if known.who is None and not route.is_open:
            raise LibraryError(NOT_LOGGED_IN)
        assert route.handler is not None, name
        return route.handler(known)

    def _who(self, call: Call) -> Who | None:
        return self._accounts.who(call.fields.get("cookie", ""))

    async def _send_image(self, call: Call, send: Send) -> None:
        found = await self._threads.run(lambda: guarded(self._find_image, call))
        if isinstance(found, Wanted):
            wanted, loop = found, asyncio.get_running_loop()
            work = partial(guarded, self._thumbs.make, wanted)
            found = await loop.run_in_executor(self._makers, work)
        fields = (
            ("etag", found.etag),
            ("cache-control", "private, no-cache"),
            ("vary", "accept, cookie"),
        )
        if check_read(
            {k: v for k, v in call.fields.items() if k == "if-none-match"}, found.etag, 0
        ):
            await _send(b"", send, 304, fields)
            return
        safe = ("content-security-policy", "sandbox; default-src 'none'")
        await _send(found.data, send, 200, (*fields, safe), found.media)

    def _find_image(self, call: Call) -> Image | Wanted:
        known = call._replace(who=self._who(call))
        if known.who is None:
            raise LibraryError(NOT_LOGGED_IN)
        return self._thumbs.find(known)

    async def _send_file(
        self, name: str, call: Call, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            opened, spending = await self._threads.run(lambda: guarded(self._open, name, call))
        except LibraryError as error:
            raise _of_download(error) from error
        try:
            answer = download.plan(call.fields, opened)
            is_read = scope["method"] == "GET" and answer.status in _WITH_FILE
            async with self._spent(spending if is_read else None, answer, send) as counted:
                start = {"type": "http.response.start", "status": answer.status}
                await counted({**start, "headers": answer.fields})
                if scope["method"] == "GET":
                    await self._send_parts(opened, answer.parts, scope, receive, counted)
                await counted(_END)
        finally:
            os.close(opened.fd)

    @contextlib.asynccontextmanager
    async def _spent(
        self, spending: shares.Spending | None, answer: Download, send: Send
    ) -> AsyncIterator[Send]:
        """Lend a `send` that counts what is sent of a share that may be read so many times."""
        if spending is None:
            yield send
            return
        wanted, sent = sum(p.stop - p.start for p in answer.parts if isinstance(p, Range)), 0

        async def counted(message: Message) -> None:
            nonlocal sent
            await send(message)
            sent += len(message.get("body", b"")) + message.get("count", 0)

        await self._threads.run(lambda: guarded(spending.take, wanted))
        try:
            yield counted
        finally:
            await self._threads.run(lambda: guarded(spending.settle, sent))

    def _open(self, name: str, call: Call) -> shares.Shared:
        if name == "shareFile":
            return shares.open_shared(
                self.service, call.parameters.text("shareKey", shares.KEY_MAX)
            )
        known = call._replace(who=self._who(call))
        if known.who is None:
            raise LibraryError(NOT_LOGGED_IN)
        with known.reading() as reading:
            row = reading.file(call.parameters.integer("id"))
            return shares.Shared(download.open_file(reading, row), None)

    async def _send_parts(
        self,
        opened: Opened,
        parts: list[Part],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        zero_copy = has_zero_copy(scope)
        async with watching(receive) as left:
            for part in parts:
                if isinstance(part, Range):
                    await send_range(
                        self._threads, opened.fd, part, send, left, zero_copy=zero_copy
                    )
                else:
                    await send({"type": "http.response.body", "body": part, "more_body": True})


def _fields(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


async def _greet(scope: Scope, send: Send) -> None:
    """Answer as the program does, by which clients see that it is there.

    Raises:
        LibraryError: the method is another one.
    """
    if scope["method"] not in _GREETED:
        raise LibraryError(BAD_PARAMETER, 405, (("allow", ", ".join(_GREETED)),))
    await _send(b"hello world", send, 200, media="text/html; charset=utf-8")


def _of_download(error: LibraryError) -> LibraryError:
    """Return the answer to a download that cannot be; players look at the status alone."""
    status = _STATUS_OF.get(error.code, error.status) if error.status == _OK else error.status
    return LibraryError(error.code, status)


def _route(scope: Scope) -> tuple[str, Route]:
    """Return the route of a request.

    Raises:
        LibraryError: there is none.
    """
    match = _match(scope["raw_path"])
    route = ROUTES.get(match[1]) if match else None
    if (
        match is None
        or route is None
        or (route.kind is Kind.JSON and (match[2] != "c" or match[3]))
    ):
        raise LibraryError(NOT_FOUND, 404)
    if scope["method"] not in route.methods:
        raise LibraryError(BAD_PARAMETER, 405, (("allow", ", ".join(route.methods)),))
    return match[1], route


async def _send(
    body: bytes,
    send: Send,
    status: int,
    fields: tuple[tuple[str, str], ...] = (),
    media: str = wire.JSON_TYPE,
) -> None:
    if media == wire.JSON_TYPE:
        fields = (("cache-control", "no-store"), *fields)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    head = [
        (b"content-type", media.encode()),
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        *raw,
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _match(raw_path: bytes) -> re.Match[str] | None:
    return _PATH.fullmatch(unquote(raw_path.decode("latin-1")))


async def _body(receive: Receive) -> bytes:
    """Return the body of a request.

    Raises:
        LibraryError: it is longer than any parameters are.
    """
    body, incoming = bytearray(), Incoming(receive)
    async for piece in bodies(incoming):
        body += piece
        if len(body) > BODY_MAX:
            await incoming.drain()
            raise LibraryError(BAD_PARAMETER, 413)
    return bytes(body)
