"""Names at which the server is just making something for this mount.

Its feed may tell of that before its answer comes, as if somebody else had made it.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

WAIT_SECONDS: Final = 1.0
"""How long the feed waits for an answer at most."""


class Asked:
    """All of them, by number of the directory and name."""

    def __init__(self) -> None:
        self._asked: dict[tuple[int, bytes], asyncio.Event] = {}

    @contextlib.contextmanager
    def making(self, directory: int, name: bytes) -> Iterator[None]:
        """Note that something is being made, until it is answered and known."""
        answered = self._asked[directory, name] = asyncio.Event()
        try:
            yield
        finally:
            self._asked.pop((directory, name), None)
            answered.set()

    async def answered(self, directory: int, name: bytes) -> None:
        """Wait until nothing is being made at a name, but not for long."""
        waiting = self._asked.get((directory, name))
        if waiting is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_SECONDS):
                    await waiting.wait()
