"""Moves bytes between clients and the disk, a piece at a time."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Final, TypeVar

from api.asgi import Receive, Send
from api.filetracker.cached import read_cached
from api.filetracker.ranges import Range

T = TypeVar("T")

PIECE_BYTES: Final = 2**18
"""What is read, sent or written at once: large enough to be fast, small enough for many clients."""

DRAIN_BYTES: Final = 2**26
"""What is still taken of the body of a request that is refused, so that the client, who sends
first and listens afterwards, hears why."""


class CutError(Exception):
    """The client has gone, or the file is no longer as long as was promised."""


class Threads:
    """Has blocking work done in threads.

    Args:
        executor: whose.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def run(self, work: Callable[[], T]) -> T:
        """Return what some work returns.

        When the request is cancelled meanwhile, this waits for the work all the same: it may be
        using what the caller is about to close.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise


async def bodies(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the body of a request in pieces of a good size.

    Raises:
        CutError: the client went away before its end.
    """
    waiting = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CutError
        waiting += message.get("body", b"")
        is_last = not message.get("more_body", False)
        if len(waiting) >= PIECE_BYTES or is_last:
            yield bytes(waiting)
            waiting.clear()
        if is_last:
            return


async def drain(receive: Receive) -> None:
    """Take what is left of a body, up to a limit."""
    taken = 0
    with contextlib.suppress(CutError):
        async for piece in bodies(receive):
            taken += len(piece)
            if taken > DRAIN_BYTES:
                return


async def send_range(
    threads: Threads, fd: int, part: Range, send: Send, left: asyncio.Event
) -> None:
    """Send bytes of a file.

    Args:
        threads: to read in.
        fd: the file.
        part: which bytes.
        send: of ASGI.
        left: set when the client has gone.

    Raises:
        CutError: the client has gone, or the file has become shorter.
    """
    for start, size in _pieces(part):
        if left.is_set():
            raise CutError
        data = read_cached(fd, size, start)
        if data is None:
            data = await threads.run(partial(os.pread, fd, size, start))
        if len(data) < size:
            raise CutError
        await send({"type": "http.response.body", "body": data, "more_body": True})


def _pieces(part: Range) -> Iterator[tuple[int, int]]:
    for start in range(part.start, part.stop, PIECE_BYTES):
        yield start, min(PIECE_BYTES, part.stop - start)
