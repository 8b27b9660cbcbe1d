"""Bytes that programs have written and that are not on the server yet, gathered in large pieces."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

PIECE_BYTES: Final = 2**20
"""What is sent at once at most; much of what programs write is 4 KiB long."""

LATEST_SECONDS: Final = 1.0
"""How long bytes wait at most for more of them."""

Put = Callable[[int, int, bytes], Awaitable[None]]
"""Writes to a node, by its number, from a position on."""


class _Pending:
    def __init__(self, start: int, data: bytes) -> None:
        self.start = start
        self.data = bytearray(data)

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class Pending:
    """What waits, by node.

    Args:
        put: sends.
    """

    def __init__(self, put: Put) -> None:
        self._put = put
        self._waiting: dict[int, _Pending] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._errors: dict[int, OSError] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def write(self, number: int, start: int, data: bytes) -> None:
        """Take bytes.

        Raises:
            OSError: bytes that were taken before could not be written.
        """
        async with self._lock(number):
            self._complain(number)
            waiting = self._waiting.get(number)
            if waiting is not None and waiting.end == start:
                waiting.data += data
            else:
                await self._send(number)
                waiting = self._waiting[number] = _Pending(start, data)
                loop = asyncio.get_running_loop()
                self._timers[number] = loop.call_later(LATEST_SECONDS, self._begin, number)
            if len(waiting.data) >= PIECE_BYTES:
                await self._send(number)

    def waiting(self) -> list[int]:
        """Return the nodes for which bytes were taken that may not be on the server."""
        return list(self._locks)

    async def flush(self, number: int) -> None:
        """Have all on the server that was taken for a node.

        Raises:
            OSError: not all could be written.
        """
        if number in self._locks:
            async with self._lock(number):
                await self._send(number)
                self._complain(number)

    def forget(self, number: int) -> None:
        """Forget a node that nobody has open any more, after a flush."""
        if number not in self._waiting:
            self._locks.pop(number, None)
            self._errors.pop(number, None)

    def unsent(self) -> set[int]:
        """Return the nodes for which bytes were taken that are not on the server yet."""
        return self._waiting.keys() | {n for n, lock in self._locks.items() if lock.locked()}

    async def flush_all(self) -> dict[int, OSError]:
        """Have all on the server; returns the nodes for which not all could be written."""
        for number in list(self._waiting):
            await self._try(number)
        return dict(self._errors)

    def _lock(self, number: int) -> asyncio.Lock:
        return self._locks.setdefault(number, asyncio.Lock())

    def _complain(self, number: int) -> None:
        error = self._errors.pop(number, None)
        if error is not None:
            raise error

    async def _send(self, number: int) -> None:
        waiting = self._waiting.pop(number, None)
        if waiting is None:
            return
        self._timers.pop(number).cancel()
        await self._put(number, waiting.start, bytes(waiting.data))

    def _begin(self, number: int) -> None:
        task = asyncio.create_task(self._try(number))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, number: int) -> None:
        async with self._lock(number):
            try:
                await self._send(number)
            except OSError as error:
                self._errors[number] = error
