"""A client of the feed, as any program may write one: it knows `/api/v1` and nothing else."""

import http.client
import urllib.parse
from typing import TypeVar

import msgspec

from tools.errors import OperatorError
from tools.text import printable

TIMEOUT_SECONDS = 60.0
"""For an answer to begin, and between its parts."""

_OK = 200
_NOT_FOUND = 404
_GONE = 410
_SERVER_ERROR = 500

T = TypeVar("T")


class Change(msgspec.Struct, frozen=True):
    """What is needed of a change; other keys may be there.

    Attributes:
        removed: whether the node is gone.
        node_id, parent_id, name, is_directory: of a removed node; the seed has only the first.
        node: the state of any other.
    """

    removed: bool
    node_id: str = ""
    parent_id: str = ""
    name: str = ""
    is_directory: bool = False
    node: "Node | None" = None


class Node(msgspec.Struct, frozen=True):
    """What is needed of a node.

    Attributes:
        kind: file, directory, symlink …; "" from a server that does not say.
    """

    id: str
    parent_id: str | None
    name: str
    is_directory: bool
    size: int
    kind: str = ""


class Page(msgspec.Struct, frozen=True):
    """One answer of `/changes`.

    Attributes:
        cursor: what to ask with next.
        changes: each as its JSON.
        has_more: whether there is more now.
        reset: the cursor was refused: everything is to be read anew, from this one.
    """

    cursor: int
    changes: list[msgspec.Raw]
    has_more: bool
    reset: bool = False


class _Cursor(msgspec.Struct, frozen=True):
    cursor: int


class _Path(msgspec.Struct, frozen=True):
    path: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    detail: str = ""


class UnreachableError(Exception):
    """The server does not answer now, but may later.

    Attributes:
        wait_seconds: how long it asked to wait; 0 when it said nothing.
    """

    def __init__(self, text: str, wait_seconds: float = 0) -> None:
        super().__init__(text)
        self.wait_seconds = wait_seconds


class FeedClient:
    """Asks one server, over one connection that is kept open.

    Args:
        url: of the server, such as `http://127.0.0.1:8080`; without a scheme it is http.
        token: bearer token, or None.

    Raises:
        OperatorError: the URL is none.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url if "://" in url else f"http://{url}"
        parts = urllib.parse.urlsplit(self.url)
        self._base = f"{parts.path.rstrip('/')}/api/v1"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection = _connection(parts, url)

    def cursor(self) -> int:
        """Return where the log ends now.

        Raises:
            UnreachableError: try again later.
            OperatorError: it is no use to try again.
        """
        return self._decode(self._get("/cursor"), _Cursor).cursor

    def changes(self, cursor: int) -> Page:
        """Return a page of what came after a cursor; raises as `cursor` does."""
        return self._decode(self._get(f"/changes?cursor={cursor}", allowed=_GONE), Page)

    def path(self, node_id: str) -> str | None:
        """Return where a node is, or None when it is gone; raises as `cursor` does."""
        name = urllib.parse.quote(node_id, safe="")
        body = self._get(f"/nodes/{name}/path", allowed=_NOT_FOUND)
        # The seed's own server says in plain text that there is no such node.
        return self._decode(body, _Path).path if body.startswith(b"{") else None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _get(self, path: str, allowed: int = _OK) -> bytes:
        try:
            response, body = self._exchange(path)
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self.url}: {_cause(error)}") from error
        if response.status in {_OK, allowed}:
            return body
        detail = f"{self.url}: {response.status} {response.reason}{_detail(body)}"
        if response.status >= _SERVER_ERROR:
            raise UnreachableError(detail, _seconds(response.getheader("Retry-After")))
        raise OperatorError(detail)

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
            raise OperatorError(f"{self.url}: this is no feed: {error}") from error


def _connection(parts: urllib.parse.SplitResult, url: str) -> http.client.HTTPConnection:
    kinds: dict[str, type[http.client.HTTPConnection]] = {
        "http": http.client.HTTPConnection,
        "https": http.client.HTTPSConnection,
    }
    try:
        kind, port = kinds.get(parts.scheme), parts.port
    except ValueError as error:
        raise OperatorError(f"{url}: {error}") from error
    if kind is None or not parts.hostname:
        raise OperatorError(f"{url}: this is no address of a feed; try http://127.0.0.1:8080")
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
    return f": {printable(detail)}" if detail else ""


def _seconds(retry_after: str | None) -> float:
    """RFC 9110, 10.2.3; a date instead of seconds counts as nothing."""
    return float(retry_after) if retry_after and retry_after.isdigit() else 0
