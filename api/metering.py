"""Counts requests and the time they take, before everything else that looks at them."""

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from api.answers import Answer
from api.asgi import Headers, Message, QuickApplication, Receive, Scope, Send

OTHER: Final = "other"
"""Route of requests for which there is none, so that nobody can make labels without end."""

STREAM: Final = "/api/v1/changes/stream"

BUCKETS_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

_BOUNDS: Final = (*map(floatToGoString, BUCKETS_SECONDS), "+Inf")
_STREAM: Final = STREAM.encode()
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


class _Tally:
    """The requests of one route with one status."""

    __slots__ = ("buckets", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(BUCKETS_SECONDS) + 1)


class Tallies(Collector):
    """Requests by route and status, and how long they took.

    The library's own counters take a lock for each request, and three microseconds, a tenth of what
    the shortest requests cost altogether. Here one thread counts, and whoever reads may be late by
    a request.

    Args:
        about: middle of the metrics' names.
        label: by what they are told apart, besides the status.
    """

    def __init__(self, about: str = "http", label: str = "route") -> None:
        self._about = about
        self._label = label
        self._tallies: dict[tuple[str, int], _Tally] = {}

    def add(self, route: str, status: int, taken_seconds: float | None) -> None:
        """Count a request.

        Args:
            route: its route.
            status: of the answer.
            taken_seconds: until its end, or None when that is not measured.
        """
        tally = self._tallies.get((route, status))
        if tally is None:
            tally = self._tallies[route, status] = _Tally()
        tally.count += 1
        if taken_seconds is not None:
            tally.seconds += taken_seconds
            tally.buckets[bisect_left(BUCKETS_SECONDS, taken_seconds)] += 1

    def describe(self) -> Iterable[Metric]:
        """Say nothing: what is counted is known only later."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        tallies = self._tallies.copy()
        requests = CounterMetricFamily(
            f"nasfeed_{self._about}_requests",
            f"Requests by {self._label} and status; status 0: the client left before an answer "
            "began.",
            labels=[self._label, "status"],
        )
        for (route, status), tally in tallies.items():
            requests.add_metric([route, str(status)], tally.count)
        yield requests
        durations = HistogramMetricFamily(
            f"nasfeed_{self._about}_request_duration_seconds",
            "Time from a request to the end of its answer, without streams and long polls.",
            labels=[self._label],
        )
        for wanted in sorted({route for route, _ in tallies}):
            same = [tally for (route, _), tally in tallies.items() if route == wanted]
            sums = accumulate(map(sum, zip(*(tally.buckets for tally in same), strict=True)))
            buckets = list(zip(_BOUNDS, map(float, sums), strict=True))
            durations.add_metric([wanted], buckets, sum(tally.seconds for tally in same))
        yield durations


class Noting:
    """ASGI's `send` for one request, which notes how that is answered.

    Args:
        send: passes messages on.

    Attributes:
        status: of the answer; 0 until one begins.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = _UNANSWERED

    async def __call__(self, message: Message) -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class Meter:
    """An ASGI application around all others.

    How long a stream or a long poll lasts says nothing of the server, so that is not measured.

    Args:
        app: what is measured.
        templates: paths of the routes, as far as they are known yet.
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
        self._streams = Gauge(
            "nasfeed_streams_open", "Streams of changes that are open now.", registry=registry
        )
        self._tallies = Tallies()
        registry.register(self._tallies)

    def know(self, templates: Iterable[str]) -> None:
        """Tell routes apart from now on; those of requests that are being answered, too.

        Args:
            templates: paths of all routes.
        """
        self._routes = Routes(templates)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["raw_path"] == _STREAM:
            with self._streams.track_inprogress():
                await self._measured(None, scope, receive, send)
        else:
            waits = b"wait=" in scope["query_string"]
            began = None if waits else self._seconds()
            await self._measured(began, scope, receive, send)

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
            self._note(path, answer.status, began)
        return answer

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        self._app.stop()

    async def _measured(
        self, began: float | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        noting = Noting(send)
        try:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope["raw_path"], noting.status, began)

    def _note(self, path: bytes, status: int, began: float | None) -> None:
        taken_seconds = None if began is None else self._seconds() - began
        self._tallies.add(self._routes.of(path), status, taken_seconds)
