"""How requests are counted and timed."""

import asyncio
import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from api.answers import Answer
from api.asgi import Headers, Message, Receive, Scope, Send
from api.metering import OTHER, STREAM, Meter, Routes, Tallies

TEMPLATES = ["/a", "/n/{id}/path", "/n/{id}", "/a.b/{x}", STREAM]


class _App:
    log_id = ""

    def __init__(self, seconds: list[float], status: int | None) -> None:
        self.seconds = seconds
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"of": scope["type"]}
        self.seconds[0] += 2.0
        if self.status is None:
            raise asyncio.CancelledError
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        assert (path, query, headers) == (b"/a", b"", [])
        self.seconds[0] += 0.002
        return None if self.status is None else Answer(b"", self.status)

    def stop(self) -> None:
        pass


class _Metered:
    """A meter around an application that lets time pass."""

    def __init__(self, status: int | None) -> None:
        self.seconds = [0.0]
        self.registry = CollectorRegistry()
        app = _App(self.seconds, status)
        self.meter = Meter(app, TEMPLATES, self.registry, lambda: self.seconds[0])
        self.streams: list[float | None] = []

    def ask(self, path: str, query: str = "", kind: str = "http") -> None:
        async def receive() -> Message:
            return {"of": kind}

        async def send(_: Message) -> None:
            self.streams.append(self.registry.get_sample_value("nasfeed_streams_open"))

        scope = {"type": kind, "raw_path": path.encode(), "query_string": query.encode()}
        asyncio.run(self.meter(scope, receive, send))

    def count(self, route: str, status: int) -> float | None:
        labels = {"route": route, "status": str(status)}
        return self.registry.get_sample_value("nasfeed_http_requests_total", labels)

    def timed(self, route: str, part: str) -> float | None:
        name = f"nasfeed_http_request_duration_seconds_{part}"
        return self.registry.get_sample_value(name, {"route": route})


@pytest.mark.parametrize(
    ("path", "route"),
    [
        (b"/a", "/a"),
        (b"/n/7/path", "/n/{id}/path"),
        (b"/n/7", "/n/{id}"),
        (b"/n/7/8", OTHER),
        (b"/a.b/c", "/a.b/{x}"),
        (b"/aXb/c", OTHER),
        (b"/b", OTHER),
        (b"/a/", OTHER),
        (b"/n/\xff\n/path", "/n/{id}/path"),
    ],
)
def test_a_path_belongs_to_a_route(path: bytes, route: str) -> None:
    assert Routes(TEMPLATES).of(path) == route


def test_without_parameters_only_the_exact_paths_match() -> None:
    assert Routes(["/a"]).of(b"/a") == "/a"
    assert Routes(["/a"]).of(b"") == OTHER


def test_an_answer_is_counted_and_timed_until_its_end() -> None:
    metered = _Metered(418)
    metered.ask("/a")
    assert metered.count("/a", 418) == 1
    assert metered.timed("/a", "sum") == 2.0


def test_an_answer_at_once_is_measured_too() -> None:
    metered = _Metered(200)
    assert metered.meter.quick(b"/a", b"", []) is not None
    assert metered.count("/a", 200) == 1
    assert metered.timed("/a", "sum") == 0.002


def test_what_is_not_answered_at_once_is_counted_once() -> None:
    metered = _Metered(None)
    assert metered.meter.quick(b"/a", b"", []) is None
    assert metered.count("/a", 0) is None


def test_a_client_that_leaves_is_counted_as_unanswered() -> None:
    metered = _Metered(None)
    with pytest.raises(asyncio.CancelledError):
        metered.ask("/a")
    assert metered.count("/a", 0) == 1


def test_streams_are_counted_while_open_and_not_timed() -> None:
    metered = _Metered(200)
    metered.ask(STREAM)
    assert metered.streams == [1.0, 1.0]
    assert metered.registry.get_sample_value("nasfeed_streams_open") == 0
    assert metered.count(STREAM, 200) == 1
    assert metered.timed(STREAM, "count") == 0


def test_a_long_poll_is_not_timed() -> None:
    metered = _Metered(200)
    metered.ask("/a", "cursor=1&wait=60")
    assert metered.count("/a", 200) == 1
    assert metered.timed("/a", "count") == 0


def test_what_is_no_request_passes_unmeasured() -> None:
    metered = _Metered(200)
    metered.ask("", kind="lifespan")
    assert metered.count(OTHER, 200) is None


def test_durations_are_told_in_buckets_that_add_up() -> None:
    tallies = Tallies()
    registry = CollectorRegistry()
    registry.register(tallies)
    for status, seconds in ((200, 0.0004), (200, 0.001), (404, 0.003), (200, 99.0), (200, None)):
        tallies.add("/a", status, seconds)
    text = generate_latest(registry).decode()
    buckets = dict(re.findall(r'_bucket\{le="([^"]+)",route="/a"\} (\S+)', text))
    assert buckets["0.0005"] == "1.0"
    assert buckets["0.001"] == "2.0"
    assert buckets["0.0025"] == "2.0"
    assert buckets["0.005"] == "3.0"
    assert buckets["5.0"] == "3.0"
    assert buckets["+Inf"] == "4.0"
    assert 'duration_seconds_count{route="/a"} 4.0' in text
    assert 'requests_total{route="/a",status="200"} 4.0' in text
