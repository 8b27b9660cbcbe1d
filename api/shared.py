"""Reads that streams share: all that wake together at one cursor want the same page.

Whoever asks second gets the reading of the first. So a commit that wakes hundreds of streams is
read and encoded once, and what they send is one piece of memory.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from api.pages import Reading
from api.query import ChangesQuery

KEPT_MAX: Final = 16
"""Pages that are kept, at most; the oldest is dropped first."""

KEPT_SECONDS: Final = 1.0
"""How long a page is kept; those who wake together ask much sooner."""


class SharedReads:
    """Remembers pages while the log does not grow; used on the event loop's thread.

    Args:
        submit: begins to read a page in a thread.
        head: the last position of the log. While it is the same, a page is too.
    """

    def __init__(
        self,
        submit: Callable[[ChangesQuery], "asyncio.Future[Reading]"],
        head: Callable[[], int],
    ) -> None:
        self._submit = submit
        self._head = head
        self._kept_at = -1
        self._kept: dict[ChangesQuery, asyncio.Future[Reading]] = {}
        self._forgetting: asyncio.TimerHandle | None = None

    async def page(self, asked: ChangesQuery) -> Reading:
        """Return a page."""
        head = self._head()
        if head != self._kept_at:
            self._kept.clear()
            self._kept_at = head
        reading = self._kept.get(asked)
        if reading is None or (reading.done() and reading.exception() is not None):
            reading = self._keep(asked)
        # Shielded: one stream that ends must not take the page from the others.
        return await asyncio.shield(reading)

    def _keep(self, asked: ChangesQuery) -> "asyncio.Future[Reading]":
        if len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        reading = self._kept[asked] = self._submit(asked)
        if self._forgetting is None:
            loop = asyncio.get_running_loop()
            self._forgetting = loop.call_later(KEPT_SECONDS, self._forget)
        return reading

    def _forget(self) -> None:
        self._forgetting = None
        self._kept.clear()
