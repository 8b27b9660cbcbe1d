"""Following a feed for ever: resume, reset, retry.

What happens to the server is not seen by whoever takes the pages, except that it takes longer: it
may restart, be away for days, lose its log, or refuse a cursor.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeVar

from tools.client.backoff import Backoff
from tools.client.connection import WAIT_SECONDS_MAX, FeedClient
from tools.client.errors import ProtocolError, RefusedError, UnavailableError
from tools.client.mirror import settled
from tools.client.wire import Page, Position

INTERVAL_SECONDS = 1.0

_BUSY = 503

_NO_STREAMS = frozenset({404, 405, 406})

T = TypeVar("T")
Pause = Callable[[float], object]
"""Waits for some seconds."""


class Pace(NamedTuple):
    """How a feed is asked.

    Attributes:
        wait_seconds: how long the server may wait for news; 0: it is to answer at once.
        interval_seconds: the shortest time between two answers that bring nothing. It is what
            remains with a server that cannot wait.
        max_size: the most changes in a page; 0 leaves it to the server.
        stream: whether to have pages sent as they come, where the server can do that.
    """

    wait_seconds: float = WAIT_SECONDS_MAX
    interval_seconds: float = INTERVAL_SECONDS
    max_size: int = 0
    stream: bool = True


class Following:
    """Somebody who follows a feed.

    Args:
        client: asks the server.
        pace: how.
        on_trouble: told, once for each time that the server is away, why; it may raise to end this.
        pause: waits; by default nothing can shorten it.
        backoff: how long to wait for a server that is away.
        seconds: a clock that never goes back.
    """

    def __init__(
        self,
        client: FeedClient,
        pace: Pace | None = None,
        *,
        on_trouble: Callable[[UnavailableError], None] = lambda _: None,
        pause: Pause | None = None,
        backoff: Backoff | None = None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._pace = pace or Pace()
        self._on_trouble = on_trouble
        self._pause = pause or threading.Event().wait
        self._backoff = backoff or Backoff()
        self._seconds = seconds
        self._streams = self._pace.stream
        self._stream_backoff = Backoff()
        self._waits_from = 0.0

    def pages(self, start: Position) -> Generator[Page]:
        """Yield pages without end, each to be applied before the next is taken.

        A page without `has_more` says that all there was has come. Such pages come again and again,
        most of them empty: whoever wants to stop can do so then.

        Args:
            start: how far the taker has come.

        Raises:
            RefusedError: the server says no for good.
            ProtocolError: it is no feed.
        """
        position, stream_at = start, 0.0
        while True:
            # A poll first, and after each stream: it finds out what is the matter, and waits.
            for page in self._polled(position):
                position = page.position
                yield page
                if self._streams and not page.has_more and self._seconds() >= stream_at:
                    break
            for page in self._streamed(position):
                position = page.position
                yield page
            stream_at = self._seconds() + self._stream_backoff.after_failure()

    def _streamed(self, start: Position) -> Iterator[Page]:
        """Yield what a stream brings, until it ends, for whatever reason."""
        position = start
        try:
            with contextlib.closing(self._client.stream(position)) as pages:
                for page in pages:
                    settled_page = self._settled(position, page)
                    position = settled_page.position
                    self._stream_backoff.after_success()
                    yield settled_page
        except UnavailableError:
            return
        except RefusedError as error:
            if error.status not in _NO_STREAMS:
                raise
            self._streams = False

    def _polled(self, start: Position) -> Iterator[Page]:
        position, caught_up = start, False
        while True:
            began = self._seconds()
            may_wait = caught_up and began >= self._waits_from
            wait_seconds = self._pace.wait_seconds if may_wait else 0
            page = self._page(position, wait_seconds)
            position, caught_up = page.position, not page.has_more
            yield page
            if caught_up and not page.changes:
                self._rest(self._seconds() - began)

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer.

        Args:
            ask: raises `UnavailableError` when there is none now.

        Raises:
            RefusedError, ProtocolError: as `pages`.
        """
        while True:
            try:
                answer = ask()
            except UnavailableError as error:
                if self._backoff.is_fresh:
                    self._on_trouble(error)
                self._pause(self._backoff.after_failure(error.wait_seconds))
            else:
                self._backoff.after_success()
                return answer

    def _page(self, after: Position, wait_seconds: float) -> Page:
        return self._settled(after, self.patiently(lambda: self._ask(after, wait_seconds)))

    def _ask(self, after: Position, wait_seconds: float) -> Page:
        """Ask; for a while without having the server wait, when too many have it wait already."""
        size = self._pace.max_size
        try:
            return self._client.changes(after, max_size=size, wait_seconds=wait_seconds)
        except UnavailableError as error:
            if not wait_seconds or error.status != _BUSY:
                raise
            pause = max(error.wait_seconds, self._pace.interval_seconds)
            self._waits_from = self._seconds() + pause
        return self._client.changes(after, max_size=size)

    def _settled(self, after: Position, page: Page) -> Page:
        try:
            return settled(after, page)
        except ProtocolError as error:
            raise ProtocolError(f"{self._client.url}: {error}") from error

    def _rest(self, taken_seconds: float) -> None:
        left = self._pace.interval_seconds - taken_seconds
        if left > 0:
            self._pause(left)
