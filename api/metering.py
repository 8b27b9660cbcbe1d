"""Counts requests and the time they take, before everything else that looks at them."""

import re
import time
from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.answers import Answer
from api.asgi import Headers, Message, QuickApplication, Receive, Scope, Send

OTHER: Final = "other"
"""Route of requests for which there is none, so that nobody can make labels without end."""

STREAM: Final = "/api/v1/changes/stream"

BUCKETS_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

_UNANSWERED: Final = 0
_PARAMETER = re.compile(r"\\\{[^{}]*\\\}")


class Routes:
    """Finds the route of a path.

    Args:
        templates: paths of the routes; what stands in braces matches one part of a path.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        plain = set(templates)
        self._exact = {template.encode(): template for template in plain if "{" not in template}
        self._templates = sorted(plain - set(self._exact.values()))
        patterns = [_PARAMETER.sub("[^/]*", re.escape(each)) for each in self._templates]
        self._pattern = re.compile("|".join(f"({each})" for each in patterns).encode() or b"(?!)")

    def of(self, path: bytes) -> str:
        """Return the template that a path belongs to, or `OTHER`."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        found = self._pattern.fullmatch(path)
        return OTHER if found is None else self._templates[(found.lastindex or 1) - 1]


class Meter:
    """An ASGI application around all others.

    How long a stream or a long poll lasts says nothing of the server, so that is not measured.

    Args:
        app: what is measured.
        templates: paths of the routes.
        registry: where the metrics are registered.
        seconds: a clock that never goes back.
    """

    def __init__(
        self,
        app: QuickApplication,
        templates: Iterable[str],
        registry: CollectorRegistry,
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.log_id = app.log_id
        self._app = app
        self._routes = Routes(templates)
        self._seconds = seconds
        self._requests = Counter(
            "nasfeed_http_requests",
            "Requests by route and status; status 0: the client left before an answer began.",
            ["route", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "nasfeed_http_request_duration_seconds",
            "Time from a request to the end of its answer, without streams and long polls.",
            ["route"],
            buckets=BUCKETS_SECONDS,
            registry=registry,
        )
        self._streams = Gauge(
            "nasfeed_streams_open", "Streams of changes that are open now.", registry=registry
        )
        self._counted: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = self._routes.of(scope["raw_path"])
        if route == STREAM:
            with self._streams.track_inprogress():
                await self._measured(route, None, scope, receive, send)
        else:
            waits = b"wait=" in scope["query_string"]
            began = None if waits else self._seconds()
            await self._measured(route, began, scope, receive, send)

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a plain GET at once, or return None: then it must be awaited.

        Args:
            path: as on the request line, still encoded.
            query: without the question mark.
            headers: names in lower case.
        """
        began = self._seconds()
        answer = self._app.quick(path, query, headers)
        if answer is not None:
            self._note(self._routes.of(path), answer.status, began)
        return answer

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        self._app.stop()

    async def _measured(
        self, route: str, began: float | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        status = _UNANSWERED

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(route, status, began)

    def _note(self, route: str, status: int, began: float | None) -> None:
        counted = self._counted.get((route, status))
        if counted is None:
            labelled = self._requests.labels(route, str(status)), self._durations.labels(route)
            counted = self._counted[route, status] = labelled
        counted[0].inc()
        if began is not None:
            counted[1].observe(self._seconds() - began)
