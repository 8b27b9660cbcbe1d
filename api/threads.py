"""Blocking work of an asyncio program, done in threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


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
