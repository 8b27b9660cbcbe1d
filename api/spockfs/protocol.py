"""HTTP/1.1 with the methods of SpockFS.

The parser behind httptools, llhttp, knows the methods of the registry and refuses all others.
h11, uvicorn's other parser, takes any, at less than half the speed and without the limits of
`api.protocol`. So llhttp reads these requests, too: it is shown POST in the place of a method that
it does not know, which is framed in the same way (RFC 9112, 6.3), and the real one is put back when
the head is complete.

For that the first bytes of each request must be found. A head ends with an empty line; a body has
its declared length. After a chunked body only what comes in another packet is looked at, so a
client that sends requests ahead of the answers must declare lengths.
"""

import asyncio
from typing import Any, Final, Protocol

from uvicorn import Config

from api.answers import Answer
from api.asgi import Headers, QuickApplication
from api.protocol import GuardedProtocol, State

_KNOWN: Final = frozenset({b"GET", b"HEAD", b"PUT", b"POST", b"DELETE", b"OPTIONS"})
"""Methods that llhttp frames as it does POST, and that need no disguise."""

_METHOD_MAX: Final = 32
_HEAD_END: Final = b"\r\n\r\n"


class QuickMethods(QuickApplication, Protocol):
    """An application that can answer requests of any method without being awaited."""

    def quick_method(self, method: bytes, path: bytes, headers: Headers) -> Answer | None:
        """Answer a request without a body at once, or return None: then it must be awaited.

        Args:
            method: of HTTP.
            path: as on the request line, still encoded, without a query.
            headers: names in lower case.
        """
        ...


class SpockProtocol(GuardedProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._app: QuickMethods = server_state.app  # type: ignore[assignment]  # the face serves no other
        self._given = b""  # the real method of the request that comes next
        self._method = b""
        self._start = b""  # of a request, until its method is whole
        self._tail = b""  # of what is known of a head
        self._is_in_head = False
        self._body_left: int | None = 0  # None: of unknown length

    def data_received(self, data: bytes) -> None:
        """Parse what came, request by request."""
        while data:
            if self._is_in_head:
                data = self._take_head(data)
            elif self._body_left is None:
                super().data_received(data)
                return
            elif self._body_left:
                part, data = data[: self._body_left], data[self._body_left :]
                self._body_left -= len(part)
                super().data_received(part)
            else:
                data = self._take_method(self._start + data)

    def _take_method(self, data: bytes) -> bytes:
        """Begin a request, if its method is whole; return what is to be parsed, if anything."""
        data = data.lstrip(b"\r\n")  # as RFC 9112, 2.2 advises
        method, blank, rest = data.partition(b" ")
        if not blank and len(data) <= _METHOD_MAX:
            self._start = data
            return b""
        self._start = self._tail = b""
        self._given = method
        self._is_in_head = True
        return data if not method.isalpha() or method in _KNOWN else b"POST " + rest

    def _take_head(self, data: bytes) -> bytes:
        """Parse a part of a head; return what comes after it."""
        found = (self._tail + data).find(_HEAD_END)
        if found < 0:
            self._tail = (self._tail + data)[1 - len(_HEAD_END) :]
            super().data_received(data)
            return b""
        end = found + len(_HEAD_END) - len(self._tail)
        self._is_in_head = False
        self._body_left = 0
        super().data_received(data[:end])
        return data[end:]

    def on_message_begin(self) -> None:
        """Begin a request; one right behind a chunked body has no disguise."""
        self._method, self._given = self._given, b""
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note how long the body is, then have the request answered."""
        self._body_left = _body_length(self.headers)
        self._method = self._method or self.parser.get_method()
        super().on_headers_complete()
        self.scope["method"] = self._method.decode("latin-1")

    def on_message_complete(self) -> None:
        """Get ready for the next request."""
        self._body_left = 0
        super().on_message_complete()

    def _quick_answer(self) -> Answer | None:
        if self._body_left != 0 or not self._may_be_quick():
            return None
        return self._app.quick_method(self._method, self.url.partition(b"?")[0], self.headers)


def _body_length(headers: Headers) -> int | None:
    """Return the declared length of a body; llhttp has refused what contradicts itself."""
    length = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            length = int(value)
    return length
