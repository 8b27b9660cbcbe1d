"""A stream of changes: server-sent events, or the same as lines of JSON.

The format of server-sent events is the HTML standard's
(https://html.spec.whatwg.org/multipage/server-sent-events.html).

A stream has a cursor and no buffer: it reads the log when its client has taken what was sent
before. A slow client lags behind; it costs one page, never a queue.

A cursor that cannot be honoured is told inside the stream, with the event `reset`, and the stream
goes on from cursor 0; it is no status. A stream must be able to say so later anyway, when a squash
overtakes a slow client, so a client has one place to handle it. And a browser's `EventSource`
never shows the status to the page: after a 410 it would be silent for ever.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum
from itertools import count
from typing import Final, NamedTuple

from api.answers import Answer
from api.asgi import Receive, Scope, Send
from api.encode import to_json
from api.filtered import FilteredReads
from api.pages import Reading
from api.query import ChangesQuery
from api.sending import send_answer
from api.sleepers import Sleepers, until_left
from api.wire import Cursor

EVENT_PAGE: Final = 250
"""Changes in one event, unless the client asks otherwise; some 100 kB, held until it is taken."""

RETRY_MS: Final = 2_000
"""When a browser connects again after the stream has ended."""

_turns = count()


class Form(Enum):
    """How a stream is written; the value is the content type."""

    EVENTS = "text/event-stream"
    LINES = "application/x-ndjson"


class Source(NamedTuple):
    """Where streams read.

    Attributes:
        refusal: says why a cursor cannot be honoured, or None.
        page: reads a page.
        head: the last durable position, from memory.
        reads: reads the pieces of long pages.
        run: runs such a reading in a thread.
        busy: what is answered when there are too many streams.
        log_id: epoch of the positions.
    """

    refusal: Callable[[ChangesQuery], Answer | None]
    page: Callable[[ChangesQuery], Awaitable[Reading]]
    head: Callable[[], int]
    reads: FilteredReads
    run: Callable[[Callable[[], bytes]], Awaitable[bytes]]
    busy: Callable[[], Answer]
    log_id: str


class Stream:
    """The ASGI application of one stream.

    Args:
        asked: what the client wants.
        form: how the stream is written.
        source: where it reads.
        sleepers: has a place for it, or not.
        heartbeat_seconds: the longest silence.
    """

    def __init__(
        self,
        asked: ChangesQuery,
        form: Form,
        source: Source,
        sleepers: Sleepers,
        heartbeat_seconds: float,
    ) -> None:
        self._asked = asked
        self._form = form
        self._source = source
        self._sleepers = sleepers
        # Not all at once: what wakes together would else beat together.
        self._beat_seconds = heartbeat_seconds * (1 - next(_turns) % 16 / 64)
        self._is_told = False
        self._pieces: deque[Callable[[], bytes]] = deque()
        self._follows = (0, 0)

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send changes until the client leaves or the server stops."""
        if not self._sleepers.take():
            await send_answer(self._source.busy(), send)
            return
        left = asyncio.ensure_future(until_left(receive))
        try:
            await self._send(send, left)
        finally:
            left.cancel()
            self._sleepers.leave()

    async def _send(self, send: Send, left: "asyncio.Future[None]") -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _head(self._form)})
        if self._form is Form.EVENTS:
            await send(_part(b"retry: %d\n\n" % RETRY_MS))
        while not self._is_over(left):
            if event := await self._next(left):
                await send(_part(event))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _is_over(self, left: "asyncio.Future[None]") -> bool:
        return left.done() or self._sleepers.is_stopping

    async def _next(self, left: "asyncio.Future[None]") -> bytes:
        """Return what comes next; it may take until the next heartbeat."""
        if self._pieces:
            return await self._piece()
        if refusal := self._source.refusal(self._asked):
            return self._reset(refusal)
        if self._asked.cursor != self._source.head():
            page = await self._source.page(self._asked.after(self._asked.cursor, self._asked.since))
            if page.cursor != self._asked.cursor:
                return self._taken(page)
        return await self._idle(left)

    def _taken(self, page: Reading) -> bytes:
        """Take a page, and return what is to be said of it at once."""
        if page.cursor is None:
            return self._reset(page.answer)
        if page.below is not None:
            self._pieces = deque(self._source.reads.events(page.below))
            self._follows = page.cursor, page.since
            return b""
        self._asked = self._asked._replace(cursor=page.cursor, since=page.since)
        # What the client never knew moves the cursor, but is no news: a heartbeat will tell.
        return b"" if page.is_empty else self._event(b"changes", page.answer.body)

    async def _piece(self) -> bytes:
        """Return a piece of a long page; the last one moves the cursor."""
        body = await self._source.run(self._pieces.popleft())
        if not self._pieces:
            cursor, since = self._follows
            self._asked = self._asked._replace(cursor=cursor, since=since)
        return self._event(b"changes", body)

    async def _idle(self, left: "asyncio.Future[None]") -> bytes:
        """Say that there is nothing newer, at once if this is news, else when it is time."""
        if not self._is_told:
            self._is_told = True
            return self._event(b"caught_up", self._place())
        await self._sleepers.sleep(self._asked.cursor, self._beat_seconds, left)
        if self._is_over(left) or self._asked.cursor != self._source.head():
            return b""
        return self._event(b"heartbeat", self._place())

    def _reset(self, refusal: Answer) -> bytes:
        self._asked = self._asked._replace(cursor=0, since=0, log_ids=())
        self._is_told = False
        return self._event(b"reset", refusal.body)

    def _place(self) -> bytes:
        return to_json(Cursor(self._asked.cursor, self._source.log_id))

    def _event(self, name: bytes, body: bytes) -> bytes:
        """Write an event; its body is an object of JSON, which has no line breaks."""
        if self._form is Form.LINES:
            return b'{"event":"%b",%b\n' % (name, body[1:])
        return b"event: %b\nid: %d\ndata: %b\n\n" % (name, self._asked.cursor, body)


def _part(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}


def _head(form: Form) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", form.value.encode()),
        (b"cache-control", b"no-cache, no-store"),
        # nginx gathers an answer before it passes it on, unless told so.
        (b"x-accel-buffering", b"no"),
        (b"vary", b"accept"),
    ]
