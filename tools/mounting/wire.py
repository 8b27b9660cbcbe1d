"""Requests to a SpockFS server on connections that are kept, and what it answers."""

import asyncio
import base64
import errno
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote, urlsplit

IDLE_SECONDS: Final = 50.0
"""How long a connection is kept unused; servers close theirs after 60 to 75 seconds."""

CONNECTIONS_MAX: Final = 40

DEADLINE_SECONDS: Final = 30.0
"""For one operation, as in the reference client."""

_HARMLESS: Final = frozenset(
    {
        *("OPTIONS", "GETATTR", "READDIR", "ACCESS", "READLINK", "STATFS", "LISTXATTR"),
        *("GETXATTR", "GET", "HEAD", "FSYNC", "RELEASE", "WATCH"),
    }
)
"""Methods that may be asked for twice, whatever has happened in between."""

_HEAD_MAX: Final = 2**16
_OF_STATUS: Final = {
    400: errno.EINVAL,
    401: errno.EACCES,
    403: errno.EACCES,
    404: errno.ENOENT,
    405: errno.ENOSYS,
    409: errno.EEXIST,
    412: errno.ENOTEMPTY,
    413: errno.ERANGE,
    415: errno.ENODATA,
    416: errno.EFBIG,
    422: errno.EXDEV,
    423: errno.EBUSY,
    507: errno.ENOSPC,
}
_GOOD: Final = range(200, 300)
_UNAVAILABLE: Final = 503

Fields = dict[str, str | int | bytes]


class LostError(OSError):
    """The server is not there, or cannot reach its disk; it may come back."""


class Reply(NamedTuple):
    """An answer.

    Attributes:
        status: of HTTP.
        fields: of the header, names in lower case.
        body: all of it.
    """

    status: int
    fields: Mapping[bytes, bytes]
    body: bytes

    def number(self, name: bytes) -> int:
        """Return an X-Spock- field, 0 when it is missing."""
        return int(self.fields.get(b"x-spock-" + name, b"0"))


class Server(NamedTuple):
    """Where a filesystem is.

    Attributes:
        host, port: of the server.
        prefix: of all paths, percent-encoded, without a slash at its end.
        secret: value of the field Authorization, or "".
        is_secure: TLS is spoken.
    """

    host: str
    port: int
    prefix: str
    secret: str
    is_secure: bool


def parse_url(url: str) -> Server:
    """Read the address of a filesystem, with name and password, if any.

    Raises:
        ValueError: it is none; the message says why.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is no address: write http://HOST:PORT/PATH")
    secret = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        secret = "Basic " + base64.b64encode(pair.encode()).decode()
    is_secure = parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    return Server(parts.hostname, port, parts.path.rstrip("/"), secret, is_secure)


class _Cut(Exception):  # noqa: N818 - never leaves this module
    """A connection ended.

    Attributes:
        is_early: before a byte of the answer.
    """

    def __init__(self, *, is_early: bool) -> None:
        super().__init__()
        self.is_early = is_early


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.is_new = True
        self.last = 0.0

    async def ask(self, request: bytes, *, has_body: bool) -> Reply:
        try:
            self._writer.write(request)
            await self._writer.drain()
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise _Cut(is_early=not getattr(error, "partial", b"")) from error
        status, fields = _parse(head)
        try:
            length = int(fields.get(b"content-length", b"0")) if has_body else 0
            body = await self._reader.readexactly(length) if length else b""
        except (OSError, asyncio.IncompleteReadError) as error:
            raise _Cut(is_early=False) from error
        self.is_new = False
        return Reply(status, fields, body)

    @property
    def is_cut(self) -> bool:
        """Whether the server is known to have closed it."""
        ended = self._reader.at_eof() or self._reader.exception() is not None
        return ended or self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()


def _parse(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return int(first.split(b" ", 2)[1]), fields


class Pool:
    """Asks a server.

    Args:
        server: where it is.
        connections_max: open at once.
    """

    def __init__(self, server: Server, connections_max: int = CONNECTIONS_MAX) -> None:
        self._server = server
        self._idle: deque[_Connection] = deque()
        self._room = asyncio.Semaphore(connections_max)
        lines = [f"Host: {_authority(server)}"]
        if server.secret:
            lines.append(f"Authorization: {server.secret}")
        self._common = "".join(f"{line}\r\n" for line in lines).encode()
        self._tls = ssl.create_default_context() if server.is_secure else None

    async def ask(
        self, method: str, path: bytes, fields: Fields | None = None, body: bytes = b""
    ) -> Reply:
        """Make a request.

        Args:
            method: of SpockFS.
            path: below the server's prefix, absolute, raw.
            fields: of the header.
            body: may be empty.

        Raises:
            OSError: the server says so, is not there, or does not answer in time.
        """
        request = self._request(method, path, fields or {}, body)
        async with self._room:
            try:
                async with asyncio.timeout(DEADLINE_SECONDS):
                    reply = await self._exchange(method, request)
            except TimeoutError as error:
                raise LostError(
                    errno.EIO, f"the server does not answer {method} {path!r}"
                ) from error
        if reply.status not in _GOOD:
            raise _error(reply)
        return reply

    def close(self) -> None:
        """Close what is open."""
        while self._idle:
            self._idle.pop().close()

    async def _exchange(self, method: str, request: bytes) -> Reply:
        while True:
            connection = await self._connect()
            try:
                reply = await connection.ask(request, has_body=method != "HEAD")
            except _Cut as cut:
                connection.close()
                # The server may close an idle connection just when a request is on its way. But it
                # may also have done what it was asked for, and others more: then once is enough.
                if connection.is_new or not cut.is_early or method not in _HARMLESS:
                    raise LostError(errno.EIO, "the connection was lost") from cut
            except BaseException:
                connection.close()  # what may still come is the answer to this request
                raise
            else:
                self._keep(connection, reply)
                return reply

    async def _connect(self) -> _Connection:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if now - connection.last < IDLE_SECONDS and not connection.is_cut:
                return connection
            connection.close()
        try:
            opened = await asyncio.open_connection(
                self._server.host, self._server.port, limit=_HEAD_MAX, ssl=self._tls
            )
        except OSError as error:
            raise LostError(errno.EIO, f"cannot reach the server: {error}") from error
        return _Connection(*opened)

    def _keep(self, connection: _Connection, reply: Reply) -> None:
        if reply.fields.get(b"connection", b"").lower() == b"close":
            connection.close()
            return
        connection.last = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _request(self, method: str, path: bytes, fields: Fields, body: bytes) -> bytes:
        target = (self._server.prefix + quote_from_bytes(path)) or "/"
        lines = [f"{method} {target} HTTP/1.1\r\n".encode(), self._common]
        for name, value in fields.items():
            raw = value if isinstance(value, bytes) else str(value).encode()
            lines.append(b"%b: %b\r\n" % (name.encode(), raw))
        if body:
            lines.append(b"Content-Length: %d\r\n" % len(body))
        return b"".join([*lines, b"\r\n", body])


def _authority(server: Server) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.port}"


def _error(reply: Reply) -> OSError:
    name = reply.fields.get(b"x-spock-errno", b"").decode("latin-1")
    number = getattr(errno, name, None) if name.isalnum() else None
    if not isinstance(number, int):
        number = _OF_STATUS.get(reply.status, errno.EIO)
    text = reply.body.decode("utf-8", "replace").strip() or f"HTTP {reply.status}"
    return LostError(number, text) if reply.status == _UNAVAILABLE else OSError(number, text)
