"""Reads pages in threads, and the next page of a draining client before it is asked for.

A client that drains the feed takes as long to digest a page as the server to make one. Done at the
same time, a drain takes little more than the longer of the two.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from api.answers import Answer
from api.filtered import Below
from api.query import ChangesQuery

READERS: Final = 2
"""Threads; encoding holds the interpreter anyway, so more would not be faster."""

AHEAD_SECONDS: Final = 2.0
"""How long a page that nobody asks for is kept."""


class Reading(NamedTuple):
    """A page that was read.

    Attributes:
        answer: the page, encoded, or the refusal.
        cursor: of the next page, or None after a refusal.
        has_more: whether there is a next page now.
        is_empty: whether the page has no changes.
        since: of a filtered page, what goes with its cursor.
        below: what a filtered page has besides what is in the answer, or None.
    """

    answer: Answer
    cursor: int | None = None
    has_more: bool = False
    is_empty: bool = False
    since: int = 0
    below: Below | None = None


class _Ahead(NamedTuple):
    asked: ChangesQuery
    head: int
    reading: asyncio.Future[Reading]


class Pages:
    """The pages of one feed; used on the event loop's thread.

    Args:
        read: reads and encodes a page; called in a thread.
        head: the last position of the log. While it is the same, a page is too.

    Attributes:
        is_closed: whether the threads were told to end.
    """

    def __init__(self, read: Callable[[ChangesQuery], Reading], head: Callable[[], int]) -> None:
        self._read = read
        self._head = head
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="feed-reader")
        self._busy = 0
        self._ahead: _Ahead | None = None
        self._forgetting: asyncio.TimerHandle | None = None
        self.is_closed = False

    def close(self) -> None:
        """Let the threads end."""
        self._ahead, self.is_closed = None, True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def page(self, asked: ChangesQuery) -> Reading:
        """Return a page, from memory if it was read ahead and is still true."""
        ahead, self._ahead = self._ahead, None
        if self._forgetting is not None:
            # Otherwise the timer holds a page of megabytes long after it was sent.
            self._forgetting.cancel()
            self._forgetting = None
        reading = ahead.reading if ahead and self._serves(ahead, asked) else self.submit(asked)
        page = await reading
        if page.has_more and page.cursor is not None:
            # Not before this answer is written: reading would keep it waiting.
            following = asked.after(page.cursor, page.since)
            asyncio.get_running_loop().call_soon(self._read_ahead, following)
        return page

    def _serves(self, ahead: _Ahead, asked: ChangesQuery) -> bool:
        has_failed = ahead.reading.done() and ahead.reading.exception() is not None
        return ahead.asked == asked and ahead.head == self._head() and not has_failed

    def _read_ahead(self, asked: ChangesQuery) -> None:
        """Begin to read a page, unless another is being read."""
        if self._busy or self.is_closed:
            return
        ahead = _Ahead(asked, self._head(), self.submit(asked))
        self._ahead = ahead
        loop = asyncio.get_running_loop()
        self._forgetting = loop.call_later(AHEAD_SECONDS, self._forget, ahead)

    def _forget(self, ahead: _Ahead) -> None:
        if self._ahead is ahead:
            self._ahead = None

    async def run(self, read: Callable[[], bytes]) -> bytes:
        """Read something else in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def submit(self, asked: ChangesQuery) -> asyncio.Future[Reading]:
        """Begin to read a page in a thread."""
        self._busy += 1
        reading = asyncio.get_running_loop().run_in_executor(self._threads, self._read, asked)
        reading.add_done_callback(self._done)
        return reading

    def _done(self, reading: asyncio.Future[Reading]) -> None:
        self._busy -= 1
        if not reading.cancelled():
            reading.exception()  # whoever waits is told; a page that nobody waits for is dropped
