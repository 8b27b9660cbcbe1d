"""Sends bytes of files, a piece at a time."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from api.asgi import Message, Receive, Send
from api.beneath.cached import is_cached, read_cached
from api.bodies import PIECE_BYTES, CutError
from api.files.ranges import Range
from api.threads import Threads
from api.zerocopy import file_message

POUR_BYTES: Final = 2**20
"""What is sent at once of what is in memory: nobody else is served meanwhile."""


async def send_range(
    threads: Threads,
    fd: int,
    part: Range,
    send: Send,
    left: asyncio.Event,
    *,
    zero_copy: bool = False,
) -> None:
    """Send bytes of a file.

    Args:
        threads: to read in.
        fd: the file.
        part: which bytes.
        send: of ASGI.
        left: set when the client has gone.
        zero_copy: `send` takes files (`api.zerocopy`).

    Raises:
        CutError: the client has gone, or the file has become shorter.
    """
    start = part.start
    while start < part.stop:
        if left.is_set():
            raise CutError
        size = min(POUR_BYTES, part.stop - start)
        if zero_copy and size > PIECE_BYTES // 4 and is_cached(fd, size, start):
            await send(file_message(fd, start, size))
        else:
            size = min(PIECE_BYTES, size)
            await send(_body(await _read(threads, fd, size, start)))
        start += size


async def _read(threads: Threads, fd: int, size: int, start: int) -> bytes:
    data = read_cached(fd, size, start)
    if data is None:
        data = await threads.run(partial(os.pread, fd, size, start))
    if len(data) < size:
        raise CutError
    return data


def _body(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}


@contextlib.asynccontextmanager
async def watching(receive: Receive) -> AsyncIterator[asyncio.Event]:
    """Lend an event that is set when the client goes away.

    Args:
        receive: of ASGI; nobody else may wait for it meanwhile.
    """
    left = asyncio.Event()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        left.set()

    task = asyncio.create_task(watch())
    try:
        yield left
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
