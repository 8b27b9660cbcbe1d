"""Stands before every face: who may ask, under which name, and how HEAD is answered.

A page in a browser can make its own host name resolve to this server's address and then read what
the server answers (DNS rebinding). The Host header gives that away: it has the page's name.
"""

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final

from api.answers import Answer, problem
from api.asgi import Headers, Message, QuickApplication, Receive, Scope, Send
from api.sending import send_answer

REMEMBERED_MAX: Final = 1_024
"""Accepted Host headers that are remembered."""

OPEN_PATHS: Final = frozenset({b"/health/live", b"/health/ready"})
"""What needs no token: those who watch over a server cannot always keep a secret."""

ANONYMOUS: Final = "nasfeed.anonymous"
"""Key in the scope of a request that came without the token and passed all the same."""

_UNAUTHORIZED: Final = 401

_AUTHORITY = re.compile(r"(?P<name>\[[^\[\]]*\]|[^:\[\]]*)(:[0-9]{0,5})?")


def machine_names() -> frozenset[str]:
    """Return the names that the machine calls itself, alone and in mDNS; asks no server."""
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return frozenset({name, short, f"{short}.local"})


class Guard:
    """An ASGI application before all others.

    Args:
        app: gets the requests that pass.
        names: host names under which the server may be addressed, besides IP addresses and
            localhost.
        token: what a client must present as a bearer token, or None.
    """

    def __init__(
        self, app: QuickApplication, names: Iterable[str], token: str | None = None
    ) -> None:
        self.log_id = app.log_id
        self._app = app
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self._token = None if token is None else _digest(token.encode())
        self._accepted: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request or pass it on, HEAD as a GET whose body is not sent."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self.check(scope["headers"])
        is_head = scope["method"] == "HEAD"
        if is_head:
            scope = scope.copy()
            scope["method"] = "GET"
            send = _without_body(send)
            receive = _left  # a head is known at once, however long the body would be waited for
        if refusal is not None:
            if not _is_open(scope["raw_path"], refusal):
                await send_answer(refusal, send)
                return
            scope = {**scope, ANONYMOUS: True}
        await self._app(scope, receive, send)

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Refuse a plain GET, answer it at once, or return None: then it must be awaited.

        Args:
            path: as on the request line, still encoded.
            query: without the question mark.
            headers: names in lower case.
        """
        refusal = self.check(headers)
        if refusal is not None:
            return None if _is_open(path, refusal) else refusal
        try:
            return self._app.quick(path, query, headers)
        except Exception:  # noqa: BLE001 - the awaited way meets it again, and reports it
            return None

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        self._app.stop()

    def check(self, headers: Headers) -> Answer | None:
        """Return the refusal of a request, or None when it may pass.

        Args:
            headers: names in lower case.
        """
        authorization = b""
        for name, value in headers:
            if name == b"host" and value not in self._accepted and not self._accept(value):
                return problem(
                    421,
                    "misdirected",
                    "this server is not known by the name in the Host header;"
                    " add it to api.hosts in its configuration",
                    log_id=self.log_id,
                )
            if name == b"authorization":
                authorization = value
        if self._token is None or self._is_authorized(authorization):
            return None
        return problem(
            _UNAUTHORIZED,
            "unauthorized",
            "send the configured token as 'Authorization: Bearer TOKEN'",
            (("www-authenticate", 'Bearer realm="nasfeed"'),),
            self.log_id,
        )

    def _accept(self, host: bytes) -> bool:
        """Return whether the server may be addressed so; remember it if it may."""
        accepted = _is_address_or_in(host.decode("latin-1"), self._names)
        if accepted:
            if len(self._accepted) >= REMEMBERED_MAX:
                self._accepted.clear()
            self._accepted.add(host)
        return accepted

    def _is_authorized(self, authorization: bytes) -> bool:
        scheme, _, token = authorization.partition(b" ")
        # Digests, so that neither the length nor the first wrong byte shows in the time taken.
        given = _digest(token.strip())
        return hmac.compare_digest(given, self._token or b"") and scheme.lower() == b"bearer"


def _is_open(path: bytes, refusal: Answer) -> bool:
    return path in OPEN_PATHS and refusal.status == _UNAUTHORIZED


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _is_address_or_in(host: str, names: set[str]) -> bool:
    found = _AUTHORITY.fullmatch(host.strip())
    if not found:
        return False
    name = found["name"].lower().rstrip(".")
    if name in names or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return (address.version == 6) == name.startswith("[")  # noqa: PLR2004 - IPv6


async def _left() -> Message:
    return {"type": "http.disconnect"}


def _without_body(send: Send) -> Send:
    async def send_head(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
        elif not message.get("more_body", False):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return send_head
