"""Those who sleep until the log grows: long polls and streams, as many as there may be.

The log wakes them once after each commit, with one call from the writer's thread, whatever their
number. The call carries no data: each reads the log by its own cursor. A slow look at the head
backs the wake-up up.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from api.asgi import Receive

BACKUP_SECONDS: Final = 1.0
"""How often the head is looked at, should a wake-up ever be lost."""

_SLICE: Final = 32
"""So many are woken at a time; between two slices the loop serves others."""

Subscribe = Callable[[Callable[[], None]], Callable[[], None]]
"""Has a callback called after each commit, on any thread; returns what ends that."""


class Sleepers:
    """The sleepers of one feed; used on the event loop's thread.

    Args:
        head: returns the last durable position.
        subscribe: of the log.
        places: how many there may be at a time.

    Attributes:
        is_stopping: whether all should end, because the server stops.
        taken: how many places are taken.
    """

    def __init__(self, head: Callable[[], int], subscribe: Subscribe, places: int) -> None:
        self._head = head
        self._subscribe = subscribe
        self._places = places
        self.taken = 0
        self.is_stopping = False
        self._sleeping: dict[asyncio.Future[None], None] = {}
        self._due: deque[asyncio.Future[None]] = deque()
        self._is_called = False
        self._seen = -1
        self._round_began = self._rest_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsubscribe: Callable[[], None] | None = None
        self._backup: asyncio.TimerHandle | None = None

    def take(self) -> bool:
        """Take a place, if there is one left; each needs a `leave`."""
        if self.taken >= self._places:
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1

    def stop(self) -> None:
        """Wake all for good: the server stops."""
        self.is_stopping = True
        for sleeper in (*self._sleeping, *self._due):
            _end(sleeper)

    def close(self) -> None:
        """Listen to the log no more."""
        self.stop()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._backup is not None:
            self._backup.cancel()

    async def sleep(
        self, cursor: int, seconds: float, left: "asyncio.Future[None] | None" = None
    ) -> None:
        """Sleep until the log has grown past a cursor, a time is over, or there is no use in it.

        Args:
            cursor: at which the sleeper is.
            seconds: the longest sleep.
            left: done when the client is gone.
        """
        loop = self._begin()
        # Nothing can come between this look and the future: wake-ups arrive on this thread.
        if seconds <= 0 or self.is_stopping or self._head() > cursor or (left and left.done()):
            return
        sleeper: asyncio.Future[None] = loop.create_future()

        def end(_: object = None) -> None:
            _end(sleeper)

        timer = loop.call_later(seconds, end)
        if left is not None:
            left.add_done_callback(end)
        self._sleeping[sleeper] = None
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleeping.pop(sleeper, None)
            if left is not None:
                left.remove_done_callback(end)

    def _begin(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._unsubscribe = self._subscribe(self._on_commit)
            self._look()
        return self._loop

    def _on_commit(self) -> None:
        """Pass the wake-up to the loop, once however many commits it takes to get there."""
        if not self._is_called and self._loop is not None:
            self._is_called = True
            self._loop.call_soon_threadsafe(self._wake)

    def _look(self) -> None:
        if self._seen != self._head():
            self._wake()
        self._backup = asyncio.get_running_loop().call_later(BACKUP_SECONDS, self._look)

    def _wake(self) -> None:
        """Begin a round, or have it begin when the last one is over and others had their turn.

        Without the rest, many streams would keep the loop busy for as long as a scan goes on.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._due or now < self._rest_until:
            loop.call_at(max(now + 0.001, self._rest_until), self._wake)
            return
        self._is_called = False
        self._seen = self._head()
        self._due.extend(self._sleeping)
        self._sleeping.clear()
        self._round_began = now
        self._wake_some()

    def _wake_some(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(min(_SLICE, len(self._due))):
            _end(self._due.popleft())
        if self._due:
            loop.call_soon(self._wake_some)
        else:
            now = loop.time()
            self._rest_until = now + (now - self._round_began)


def _end(sleeper: "asyncio.Future[None]") -> None:
    if not sleeper.done():
        sleeper.set_result(None)


async def until_left(receive: Receive) -> None:
    """Return when the client is gone.

    Args:
        receive: of the request; its body, which nobody asked for, is dropped.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
