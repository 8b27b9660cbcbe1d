"""Types of ASGI 3 (https://asgi.readthedocs.io/en/latest/specs/main.html), as far as used here."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from api.answers import Answer

Scope = dict[str, Any]
Message = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class QuickApplication(Protocol):
    """An application that can answer plain requests without being awaited.

    Attributes:
        log_id: epoch of the positions of the log behind it, for refusals; "" when there is none.
    """

    log_id: str

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        ...

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a GET without a body at once, or return None: then it must be awaited.

        Args:
            path: as on the request line, still encoded.
            query: without the question mark.
            headers: names in lower case.
        """
        ...

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        ...
