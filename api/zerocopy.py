"""Sends files from the kernel's memory straight to clients: their bytes never pass through here.

It is the extension `http.response.zerocopysend` of ASGI, which uvicorn lacks
(https://asgi.readthedocs.io/en/latest/extensions.html#zero-copy-send).
"""

import asyncio
import contextlib
import os
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api.asgi import Message, Scope, Send
from api.bodies import CutError
from api.limits import Limits

ZERO_COPY: Final = "http.response.zerocopysend"
"""Type of the message, and name of the extension."""


def has_zero_copy(scope: Scope) -> bool:
    """Say whether whoever serves a request knows the message."""
    return ZERO_COPY in scope.get("extensions", ())


def file_message(fd: int, start: int, size: int) -> Message:
    """Return the message that sends bytes of a file, after which more of the body comes.

    Args:
        fd: the file; what is sent of it is best in memory, as nobody is served meanwhile.
        start: of the bytes in it.
        size: bytes.
    """
    return {"type": ZERO_COPY, "file": fd, "offset": start, "count": size, "more_body": True}


class ZeroCopySend:
    """ASGI's `send` for one request, which knows one more message.

    The head must have said how long the body is.

    Args:
        send: of uvicorn's cycle of one request and its answer, to which this needs access: only
            there is known how much of the body is still to come, and where it goes.
        limits: how slow a client may be.
    """

    def __init__(self, send: Send, limits: Limits) -> None:
        self._send = send
        self._limits = limits

    async def __call__(self, message: Message) -> None:
        """Send a message.

        Raises:
            CutError: the file is shorter than was said.
        """
        if message["type"] != ZERO_COPY:
            await self._send(message)
            return
        cycle: RequestResponseCycle = self._send.__self__  # type: ignore[attr-defined]  # a bound method
        if cycle.chunked_encoding is not False or message["count"] > cycle.expected_content_length:
            raise RuntimeError("a file is sent only within a body of known length")
        cycle.expected_content_length -= message["count"]
        await _flushed(cycle)
        await self._pour(cycle, message["file"], message["offset"], message["count"])
        if not message["more_body"]:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pour(self, cycle: RequestResponseCycle, fd: int, start: int, size: int) -> None:
        loop, stop = asyncio.get_running_loop(), start + size
        deadline = loop.time() + self._limits.receive_seconds
        moved = 0
        while start < stop and not (cycle.disconnected or cycle.transport.is_closing()):
            count = _send_some(cycle, fd, start, stop - start)
            if count is None:
                await _writable(cycle, deadline)
                continue
            start += count
            moved += count
            if moved >= self._limits.progress_bytes_min:
                deadline, moved = loop.time() + self._limits.receive_seconds, 0


def _send_some(cycle: RequestResponseCycle, fd: int, start: int, size: int) -> int | None:
    """Send as much as the kernel takes now; None when it takes nothing.

    Raises:
        CutError: the file ends before.
    """
    try:
        count = os.sendfile(_socket(cycle), fd, start, size)
    except BlockingIOError:
        return None
    except ConnectionError:
        cycle.transport.abort()
        return 0
    if not count:
        raise CutError
    return count


async def _flushed(cycle: RequestResponseCycle) -> None:
    """Wait until nothing waits in memory that was written before, such as the head."""
    await asyncio.sleep(0)  # the loop writes at the end of its turn
    transport = cycle.transport
    if transport.get_write_buffer_size():
        transport.set_write_buffer_limits(0)
        try:
            await cycle.flow.drain()
        finally:
            transport.set_write_buffer_limits()


async def _writable(cycle: RequestResponseCycle, deadline: float) -> None:
    """Wait until the client takes more, or is gone; one that took too little is cut off.

    The socket itself belongs to the loop's transport, so a copy of its descriptor is watched.
    """
    loop, copy = asyncio.get_running_loop(), os.dup(_socket(cycle))
    cycle.flow.pause_writing()  # the end of the connection resumes it, too
    loop.add_writer(copy, cycle.flow.resume_writing)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await cycle.flow.drain()
            return
        cycle.transport.abort()
    finally:
        loop.remove_writer(copy)
        os.close(copy)
        cycle.flow.resume_writing()


def _socket(cycle: RequestResponseCycle) -> int:
    return cast("int", cycle.transport.get_extra_info("socket").fileno())
