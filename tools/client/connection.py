"""One connection to a feed. It knows `/api/v1` and nothing else."""

import contextlib
import http.client
import urllib.parse
from collections.abc import Generator
from typing import Final, TypeVar

import msgspec

from tools.client.errors import ClientError, ProtocolError, RefusedError, UnavailableError
from tools.client.wire import Page, Position

TIMEOUT_SECONDS: Final = 60.0
"""For an answer to begin, and between its parts."""

WAIT_SECONDS_MAX: Final = 30.0
"""The longest that a poll may wait for news: well within the timeout."""

LINES_TYPE: Final = "application/x-ndjson"

_OK = 200
_NOT_FOUND = 404
_NOT_ACCEPTABLE = 406
_GONE = 410
_SERVER_ERROR = 500
_LATER = frozenset({408, 425, 429})
"""Client errors that are none of the client's: timeout, too early, too many requests."""

_RESET = Page(0, [], has_more=True, reset=True)

T = TypeVar("T")


class _Cursor(msgspec.Struct, frozen=True):
    cursor: int
    log_id: str = ""


class _Path(msgspec.Struct, frozen=True):
    path: str


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""


class FeedClient:
    """Asks one server, over one connection that is kept open.

    Args:
        url: of the server, such as `http://127.0.0.1:8080`; without a scheme it is http.
        token: bearer token, or None.

    Raises:
        RefusedError: the URL is none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url if "://" in url else f"http://{url}"
        parts = urllib.parse.urlsplit(self.url)
        self._base = f"{parts.path.rstrip('/')}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._parts = parts
        self._connection = _connection(parts, url)

    def end(self) -> Position:
        """Return where the log ends now.

        Raises:
            UnavailableError: try again later.
            RefusedError: it is no use to try again.
            ProtocolError: this is no feed.
        """
        _, body = self._get("/cursor")
        found = self._decode(body, _Cursor)
        return Position(found.cursor, found.log_id)

    def changes(self, after: Position, *, max_size: int = 0, wait_seconds: float = 0) -> Page:
        """Return a page of what came after a position; raises as `end` does.

        A position that the server refuses gives a page that says `reset`.

        Args:
            after: how far the client has come.
            max_size: the most changes wanted; 0 leaves it to the server.
            wait_seconds: how long the server may wait for news, at most `WAIT_SECONDS_MAX`. A
                server that cannot wait answers at once.
        """
        query = _query(after)
        if max_size:
            query["max_size"] = str(max_size)
        if wait_seconds:
            query["wait"] = f"{min(wait_seconds, WAIT_SECONDS_MAX):g}"
        status, body = self._get(f"/changes?{urllib.parse.urlencode(query)}", allowed=_GONE)
        return _RESET if status == _GONE else self._decode(body, Page)

    def stream(self, after: Position) -> Generator[Page]:
        """Yield what comes after a position as soon as it comes, over a connection of its own.

        It ends when the server ends it. An empty page without `has_more` says that all there was
        has come; such pages come now and then, so that the position moves on.

        Args:
            after: how far the client has come.

        Raises:
            UnavailableError: it cannot be had now, or was cut.
            RefusedError: as `end`; with status 404, 405 or 406, this server has no streams.
            ProtocolError: this is no feed.
        """
        connection = _connection(self._parts, self.url)
        headers = self._headers | {"Accept": LINES_TYPE}
        target = f"{self._base}/changes/stream?{urllib.parse.urlencode(_query(after))}"
        with contextlib.closing(connection):
            try:
                connection.request("GET", target, headers=headers)
                response = connection.getresponse()
                self._check_stream(response)
                for line in response:
                    if not line.endswith(b"\n"):
                        raise UnavailableError(f"{self.url}: the stream was cut")
                    yield self._decode(line, Page)
            except (OSError, http.client.HTTPException) as error:
                raise UnavailableError(f"{self.url}: {_cause(error)}") from error

    def path(self, node_id: str) -> str | None:
        """Return where a node is, or None when it is gone; raises as `end` does."""
        name = urllib.parse.quote(node_id, safe="")
        status, body = self._get(f"/nodes/{name}/path", allowed=_NOT_FOUND)
        return None if status == _NOT_FOUND else self._decode(body, _Path).path

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _get(self, path: str, allowed: int = _OK) -> tuple[int, bytes]:
        try:
            response, body = self._exchange(path)
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(f"{self.url}: {_cause(error)}") from error
        if response.status not in {_OK, allowed}:
            raise self._refusal(response, body)
        return response.status, body

    def _check_stream(self, response: http.client.HTTPResponse) -> None:
        if response.status != _OK:
            raise self._refusal(response, response.read())
        content_type = response.getheader("Content-Type", "")
        if not content_type.startswith(LINES_TYPE):
            raise RefusedError(f"{self.url}: it does not stream", _NOT_ACCEPTABLE)

    def _refusal(self, response: http.client.HTTPResponse, body: bytes) -> ClientError:
        detail = f"{self.url}: {response.status} {response.reason}{_detail(body)}"
        if response.status >= _SERVER_ERROR or response.status in _LATER:
            wait_seconds = _seconds(response.getheader("Retry-After"))
            return UnavailableError(detail, response.status, wait_seconds)
        return RefusedError(detail, response.status)

    def _exchange(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Ask once; a second time when the server had closed the idle connection meanwhile."""
        reused = self._connection.sock is not None
        try:
            self._connection.request("GET", f"{self._base}{path}", headers=self._headers)
            response = self._connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()  # the next request connects anew
            if reused and isinstance(error, ConnectionError):
                return self._exchange(path)
            raise

    def _decode(self, body: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"{self.url}: this is no feed: {error}") from error


def _query(after: Position) -> dict[str, str]:
    query = {"cursor": str(after.cursor)}
    return query | {"log_id": after.log_id} if after.log_id else query


def _connection(parts: urllib.parse.SplitResult, url: str) -> http.client.HTTPConnection:
    kinds: dict[str, type[http.client.HTTPConnection]] = {
        "http": http.client.HTTPConnection,
        "https": http.client.HTTPSConnection,
    }
    try:
        kind, port = kinds.get(parts.scheme), parts.port
    except ValueError as error:
        raise RefusedError(f"{url}: {error}") from error
    if kind is None or not parts.hostname:
        raise RefusedError(f"{url}: this is no address of a feed; try http://127.0.0.1:8080")
    return kind(parts.hostname, port, timeout=TIMEOUT_SECONDS)


def _cause(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return (text or str(error) or type(error).__name__).lower()


def _detail(body: bytes) -> str:
    """Return what an error answer says, if it says it as this feed does."""
    try:
        detail = msgspec.json.decode(body, type=_Problem).detail
    except msgspec.MsgspecError:
        return ""
    shown = "".join(each if each.isprintable() else "\ufffd" for each in detail)
    return f": {shown}" if shown else ""


def _seconds(retry_after: str | None) -> float:
    """RFC 9110, 10.2.3; a date instead of seconds counts as nothing."""
    return float(retry_after) if retry_after and retry_after.isdigit() else 0
