"""The framework comes when there is time for it, or when it is needed."""

import asyncio
import threading

from api.asgi import Message, Receive, Scope, Send
from api.front import Front
from api.late import Late
from api.metering import STREAM
from tests.api.support import STARTING, MemoryLog, make_app, serving
from tests.api.test_openapi import FEED_PATHS


class Made:
    """Says when an application is made, and what it was asked."""

    def __init__(self) -> None:
        self.times = 0
        self.done = threading.Event()
        self.allowed = threading.Event()
        self.allowed.set()

    def make(self) -> "Made":
        self.times += 1
        self.allowed.wait()
        self.done.set()
        return self

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        await send({"asked": scope["path"]})


async def never() -> Message:
    raise AssertionError("a request has nothing to say")


async def ask(late: Late, path: str) -> list[Message]:
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    await late({"type": "http", "path": path}, never, send)
    return said


def test_the_first_request_that_needs_it_has_it_made() -> None:
    made = Made()
    late = Late(made.make, lambda: False, ())

    async def run() -> list[list[Message]]:
        return await asyncio.gather(*(ask(late, f"/{n}") for n in range(3)))

    assert asyncio.run(run()) == [[{"asked": f"/{n}"}] for n in range(3)]
    assert made.times == 1


def test_a_client_that_leaves_does_not_keep_others_from_it() -> None:
    made = Made()
    made.allowed.clear()
    late = Late(made.make, lambda: False, ())

    async def run() -> list[Message]:
        first = asyncio.create_task(ask(late, "/first"))
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(ask(late, "/second"))
        await asyncio.sleep(0)
        made.allowed.set()
        return await second

    assert asyncio.run(run()) == [{"asked": "/second"}]
    assert made.times == 1


def test_it_is_made_unasked_when_there_is_time_and_closed_at_the_end() -> None:
    made, has_time, closed = Made(), threading.Event(), threading.Event()
    late = Late(made.make, has_time.is_set, [closed.set])
    sent: list[str] = []

    async def run() -> None:
        told: asyncio.Queue[Message] = asyncio.Queue()

        async def send(message: Message) -> None:
            sent.append(message["type"])
            has_time.set()

        living = asyncio.create_task(late({"type": "lifespan"}, told.get, send))
        assert not made.done.is_set()
        await told.put({"type": "lifespan.startup"})
        await asyncio.to_thread(made.done.wait)
        assert not closed.is_set()
        await told.put({"type": "lifespan.shutdown"})
        await living

    asyncio.run(run())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert closed.is_set()
    assert made.times == 1


def test_what_is_answered_before_it_is_counted_under_the_names_of_its_routes() -> None:
    assert {*Front.TEMPLATES, STREAM} <= set(FEED_PATHS)
    with serving(make_app(MemoryLog(), STARTING)) as server:
        server.ask("/api/v1/cursor")
        found = server.ask("/metrics").body.decode()
    assert 'nasfeed_http_requests_total{route="/api/v1/cursor",status="503"} 1.0' in found
