"""Sends bytes of files, a piece at a time."""

import asyncio
import os
from collections.abc import Iterator
from functools import partial

from api.asgi import Send
from api.beneath.cached import read_cached
from api.bodies import PIECE_BYTES, CutError
from api.files.ranges import Range
from api.threads import Threads


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
