"""Counts the filesystem's requests and the time they take."""

import time
from collections.abc import Callable
from typing import Final

from api.answers import Answer
from api.asgi import Headers, Receive, Scope, Send
from api.metering import OTHER, Noting, Tallies
from api.spockfs.face import ALLOWED, SpockFS

_METHODS: Final = frozenset(ALLOWED.split(", "))
"""Others are counted together, so that nobody can make labels without end."""

_UNMEASURED: Final = "WATCH"
"""It waits, which says nothing of the server."""


class Metered:
    """The filesystem, counted.

    Args:
        app: it.
        seconds: a clock that never goes back.

    Attributes:
        log_id: as the filesystem's.
        tallies: what was counted.
    """

    def __init__(self, app: SpockFS, seconds: Callable[[], float] = time.perf_counter) -> None:
        self.log_id = app.log_id
        self.tallies = Tallies("spockfs", "method")
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, noting = self._seconds(), Noting(send)
        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope["method"], noting.status, began)

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a plain GET at once, or return None; see `quick_method`."""
        return None if query else self.quick_method(b"GET", path, headers)

    def quick_method(self, method: bytes, path: bytes, headers: Headers) -> Answer | None:
        """Answer a request at once, or return None: then it must be awaited.

        Args:
            method: of HTTP.
            path: as on the request line, still encoded, without a query.
            headers: names in lower case.
        """
        began = self._seconds()
        answer = self._app.quick_method(method, path, headers)
        if answer is not None:
            self._note(method.decode(), answer.status, began)
        return answer

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        self._app.stop()

    def _note(self, method: str, status: int, began: float) -> None:
        known = method if method in _METHODS else OTHER
        taken = None if known == _UNMEASURED else self._seconds() - began
        self.tallies.add(known, status, taken)
