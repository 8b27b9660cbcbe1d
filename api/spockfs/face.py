"""The filesystem as an ASGI application: requests in, answers out."""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from api.answers import Answer
from api.asgi import Headers, Message, Receive, Scope, Send
from api.beneath.cached import read_cached
from api.beneath.paths import BadPathError
from api.bodies import CutError, bodies, drain
from api.files.ranges import Range
from api.files.transfer import send_range
from api.guard import Guard
from api.sending import send_answer
from api.served import RootUnavailableError
from api.spockfs import attributes, content, directories, making, names, removing, xattrs
from api.spockfs.access import Gate
from api.spockfs.call import DONE, Call, Reply, Source, through
from api.spockfs.errors import Refusal, refusal_of
from api.spockfs.fields import Fields, Span
from api.spockfs.mounts import Mounts, Place
from api.spockfs.watching import Happenings, Watchers
from api.threads import Threads
from api.zerocopy import has_zero_copy

THREADS: Final = 32
"""Requests that may wait for the disk or the log at once."""

PIECE_BYTES: Final = 2**20
"""Of a file that is read, or of a body that is written, at once."""

Method = Callable[[Call], Reply]

READING: Final[Mapping[str, Method]] = {
    "READDIR": directories.readdir,
    "GETATTR": attributes.getattr_,
    "ACCESS": attributes.access,
    "READLINK": names.readlink,
    "STATFS": attributes.statfs,
    "LISTXATTR": xattrs.listxattr,
    "GETXATTR": xattrs.getxattr,
    "GET": content.get,
    "HEAD": content.get,
    "OPEN": content.open_,
    "FSYNC": content.fsync,
    "RELEASE": content.release,
}
"""Methods that change nothing; OPEN looks itself whether it is to."""

WRITING: Final[Mapping[str, Method]] = {
    "MKNOD": names.mknod,
    "CHMOD": attributes.chmod,
    "CHOWN": attributes.chown,
    "TRUNCATE": content.truncate,
    "SYMLINK": names.symlink,
    "RMDIR": directories.rmdir,
    "MKDIR": directories.mkdir,
    "LINK": names.link,
    "RENAME": names.rename,
    "FALLOCATE": content.fallocate,
    "SETXATTR": xattrs.setxattr,
    "REMOVEXATTR": xattrs.removexattr,
    "UTIMENS": attributes.utimens,
    "POST": names.post,
    "DELETE": names.delete,
}

_TAKING: Final = ("PUT", "MAKE", "REMOVE")
"""Methods that change something and take a body."""

_ITSELF: Final = (*_TAKING, "WATCH")
"""Methods that wait for the client, or for something to happen."""

ALLOWED: Final = ", ".join([*READING, *WRITING, *_ITSELF, "OPTIONS"])

EXTENSIONS: Final = (
    b"ns, plus, attr, target-encoded, create-flag, create-owner, fsync, release, watch, make, "
    b"again, is, remove, errno"
)
"""What goes beyond Specs 0.1; a client that knows none of them notices nothing."""

_WRITE_FLAGS: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_SILENT: Final = frozenset({409, 412, 413, 415})
"""Refusals that the reference server sends without a body."""

_QUICK_BYTES: Final = 2**17
"""What is read on the event loop, when it is in memory: what the kernel asks at once."""

_CUT: Final = "%r: a client (%s) went away; %d of %d bytes were written"

_log = logging.getLogger(__name__)


class SpockFS:
    """Serves mount points.

    Args:
        mounts: what is served.
        gate: who may use it.
        host_names: under which the server may be addressed, besides IP addresses and localhost.
        log: says what has changed.

    Attributes:
        log_id: none: no answer here has positions of the log.
    """

    log_id = ""

    def __init__(
        self, mounts: Mounts, gate: Gate, host_names: Iterable[str], log: Happenings
    ) -> None:
        self._mounts = mounts
        self._gate = gate
        self._names = Guard(self, host_names)
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="spockfs")
        self._threads = Threads(self._executor)
        self._watchers = Watchers(log, self._threads)

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        self._watchers.stop()

    def close(self) -> None:
        """Wait for what is being done; nothing is accepted afterwards."""
        self._executor.shutdown()

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a plain GET at once, or return None; see `quick_method`."""
        return None if query else self.quick_method(b"GET", path, headers)

    def quick_method(self, method: bytes, path: bytes, headers: Headers) -> Answer | None:
        """Answer what is asked most, if no disk need be waited for; else return None.

        Args:
            method: of HTTP.
            path: as on the request line, still encoded, without a query.
            headers: names in lower case.
        """
        quick = _QUICK.get(method)
        if quick is None or self._names.check(headers) is not None:
            return None
        try:
            fields = Fields(headers)
            self._gate.author(fields.get(b"authorization", b""), writes=False)
            return quick(self._mounts.find_encoded(path), fields)
        except FileNotFoundError as error:
            return _as_answer(refusal_of(error))
        except (Refusal, OSError, BadPathError, RootUnavailableError):
            return None  # the awaited way meets it again, and says what it is

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            self.close()
            return
        refusal = self._names.check(scope["headers"])
        if refusal is not None:
            await send_answer(refusal, send)
            return
        begun, taken = _Begun(send), _Taken(receive)
        try:
            await self._answer(scope, taken, begun)
        except CutError:
            _log.debug("%s %r: the client has gone", scope["method"], scope["raw_path"])
        except Exception as error:
            if begun:
                raise
            if not taken.is_whole:
                await drain(receive)  # the client sends first, and hears afterwards
            await _refuse(_refusal(scope, error), send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, fields = scope["method"], Fields(scope["headers"])
        author = self._gate.author(
            fields.get(b"authorization", b""), writes=_writes(method, fields)
        )
        if method == "OPTIONS":
            await _send(Reply(fields=_options()), send)
            return
        known = READING.get(method) or WRITING.get(method)
        if known is None and method not in _ITSELF:
            raise Refusal(errno.ENOSYS, "there is no such method here", fields=_options())
        mount, path = self._mounts.find_encoded(scope["raw_path"])
        if mount.rules.read_only and (known in WRITING.values() or method in _TAKING):
            raise Refusal(errno.EROFS)
        call = Call(self._mounts, mount, path, fields, author)
        reply = await self._reply(method, known, call, receive)
        if reply.source is None:
            await _send(reply, send)
        else:
            zero_copy = has_zero_copy(scope)
            await self._send_source(reply, reply.source, method, send, zero_copy=zero_copy)

    async def _reply(
        self, method: str, known: Method | None, call: Call, receive: Receive
    ) -> Reply:
        if method == "WATCH":
            return await self._watchers.answer(call)
        if method == "MAKE":
            body = await _whole(receive, making.MADE_BYTES_MAX)
            return await making.make(call._replace(body=body), self._threads)
        if method == "REMOVE":
            body = await _whole(receive, removing.BODY_BYTES_MAX)
            return await removing.remove(call._replace(body=body), self._threads)
        if known is None:
            await self._put(call, receive)
            told = b"x-spock-attr" in call.fields
            return await self._threads.run(partial(_run, _nothing, call)) if told else DONE
        if method == "SETXATTR":
            call = call._replace(body=await _whole(receive, call.mount.rules.xattr_limit))
        return await self._threads.run(partial(_run, known, call))

    async def _put(self, call: Call, receive: Receive) -> None:
        """Write a body; one that is not too large is written wholly or, if it breaks off, not."""
        span = call.fields.content_range()
        length = call.fields.number(b"content-length", span.stop - span.start)
        if length != span.stop - span.start:
            raise Refusal(errno.EINVAL, "Content-Range and the length of the body differ")
        start = span.start
        try:
            async for piece in bodies(receive, PIECE_BYTES):
                if start + len(piece) > span.stop:
                    raise Refusal(errno.EINVAL, "the body is longer than its Content-Range")
                await self._threads.run(partial(content.put, call, piece, start))
                start += len(piece)
        except CutError:
            if start > span.start:
                _log.warning(
                    _CUT, call.path, call.author, start - span.start, span.stop - span.start
                )
            raise
        if start < span.stop:
            raise Refusal(errno.EINVAL, "the body is shorter than its Content-Range")

    async def _send_source(
        self, reply: Reply, source: Source, method: str, send: Send, *, zero_copy: bool
    ) -> None:
        """Send bytes of a file; when it was cut meanwhile, the promised length cannot be kept."""
        span, fd = source.span, source.fd
        try:
            await send(_head(reply.status, reply.fields, span.stop - span.start))
            if method != "HEAD":
                part, left = Range(span.start, span.stop), asyncio.Event()
                await send_range(self._threads, fd, part, send, left, zero_copy=zero_copy)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(fd)


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


class _Taken:
    """Receives the body of a request.

    Attributes:
        is_whole: the end has come.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_whole = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self.is_whole = not message.get("more_body", False)
        return message


def _run(method: Method, call: Call) -> Reply:
    """Do what is asked; with X-Spock-attr, an extension, what it leads to is told at once."""
    reply = method(call)
    if b"x-spock-attr" not in call.fields or method not in _TELLING:
        return reply
    told = attributes.describe(call.mount.beneath.stat(call.path), call.fields)
    return reply._replace(fields=[*reply.fields, *told])


def _nothing(_: Call) -> Reply:
    return DONE


_TELLING: Final = (
    _nothing,
    names.post,
    names.mknod,
    names.symlink,
    names.link,
    names.rename,
    directories.mkdir,
    attributes.chmod,
    attributes.chown,
    attributes.utimens,
    content.truncate,
    content.fallocate,
)


def _writes(method: str, fields: Fields) -> bool:
    if method == "OPEN":
        return bool(fields.number(b"x-spock-flag", 0) & _WRITE_FLAGS)
    return method in WRITING or method in _TAKING


def _options() -> Headers:
    return [
        (b"allow", ALLOWED.encode()),
        (b"x-spock-version", b"0.1"),
        (b"x-spock-extensions", EXTENSIONS),
    ]


async def _whole(receive: Receive, limit: int) -> bytes:
    found = bytearray()
    async for piece in bodies(receive):
        found += piece
        if len(found) > limit:
            raise Refusal(errno.E2BIG, f"the body has more than {limit} bytes")
    return bytes(found)


def _refusal(scope: Scope, error: Exception) -> Refusal:
    """Return what the client is told of an error."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, BadPathError):
        return Refusal(errno.EINVAL, str(error))
    if isinstance(error, OSError):
        refusal = refusal_of(error)
        if refusal.status in (500, 503, 507):
            _log.warning("%s %r: %s", scope["method"], scope["raw_path"], error)
        return refusal
    if isinstance(error, RootUnavailableError):
        return Refusal(errno.EIO, str(error), 503)
    _log.error("%s %r failed", scope["method"], scope["raw_path"], exc_info=error)
    return Refusal(errno.EIO, "the server failed; its log says more")


def _as_answer(refusal: Refusal) -> Answer:
    fields = tuple((name.decode(), value.decode()) for name, value in _told(refusal))
    return Answer(_reason(refusal), refusal.status, fields, "text/plain")


def _told(refusal: Refusal) -> Headers:
    return [(b"x-spock-errno", refusal.name.encode()), *refusal.fields]


def _reason(refusal: Refusal) -> bytes:
    if refusal.status in _SILENT:
        return b""
    text = f"{refusal.name}: {refusal.detail}" if refusal.detail else refusal.name
    return f"{text}\n".encode(errors="replace")


async def _refuse(refusal: Refusal, send: Send) -> None:
    """Send a reason."""
    body = _reason(refusal)
    await send(
        _head(refusal.status, [*_told(refusal), (b"content-type", b"text/plain")], len(body))
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _head(status: int, fields: Sequence[tuple[bytes, bytes]], length: int) -> Message:
    headers = [*fields, (b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": headers}


async def _send(reply: Reply, send: Send) -> None:
    await send(_head(reply.status, reply.fields, len(reply.body)))
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


async def _live(receive: Receive, send: Send) -> None:
    """Answer what ASGI asks of an application when the server starts and stops."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


def _quick_getattr(place: Place, fields: Fields) -> Answer | None:
    fd = place.mount.beneath.open_cached(place.path, os.O_PATH)
    if fd is None:
        return None
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    told = attributes.describe(found, fields)
    return Answer(b"", 200, tuple((n.decode(), v.decode()) for n, v in told), "text/plain")


def _quick_get(place: Place, fields: Fields) -> Answer | None:
    wanted = fields.range()
    handle = place.mount.beneath.open_cached(place.path, os.O_PATH)
    if handle is None:
        return None
    try:
        found = os.fstat(handle)
        if wanted is None or not stat.S_ISREG(found.st_mode):
            return None
        span = content.clamp(wanted, found.st_size)
        if span.stop - span.start > _QUICK_BYTES:
            return None
        data = _read_now(handle, span)
    finally:
        os.close(handle)
    if data is None:
        return None
    told = [*content.SAFE, *content.told_range(span, found.st_size)]
    return Answer(data, 206, tuple((n.decode(), v.decode()) for n, v in told), content.OCTETS)


def _read_now(handle: int, span: Span) -> bytes | None:
    """Read bytes, or return None when a disk would have to be asked."""
    fd = os.open(through(handle), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return read_cached(fd, span.stop - span.start, span.start)
    finally:
        os.close(fd)


_QUICK: Final[Mapping[bytes, Callable[[Place, Fields], Answer | None]]] = {
    b"GETATTR": _quick_getattr,
    b"GET": _quick_get,
}
