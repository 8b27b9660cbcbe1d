"""A server that takes commands but does nothing else, for commands that only pass on."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools import control
from tools.control import Handler


@contextlib.contextmanager
def commanded(database: Path, commands: Mapping[str, Handler]) -> Iterator[None]:
    """Take commands for a database on a thread of its own."""
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def take() -> None:
        end = asyncio.Event()
        ends.append((asyncio.get_running_loop(), end))
        async with control.serving(str(database), commands):
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(take(),))
    thread.start()
    ready.wait(60)
    try:
        yield
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        thread.join()
