"""Changes that programs need not wait for: sent in the background, each after what it depends on.

A change waits for those of the same file, and of its directory, that came before; all others may
overtake it. What fails is kept for whoever asks for the file next.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from tools.mounting.wire import DEADLINE_SECONDS

WAITING_MAX: Final = 512
"""Changes; whoever wants more must wait."""

AT_ONCE: Final = 32
"""Requests in the background; fewer than there may be connections, so that others get through."""

_log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class Journal:
    """All changes that are on their way.

    Args:
        deadline_seconds: how long a program waits for one.
    """

    def __init__(self, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._deadline = deadline_seconds
        self._last: dict[int, asyncio.Task[None]] = {}
        self._above: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: dict[int, OSError] = {}
        self._errors_inside: dict[int, OSError] = {}
        self._room = asyncio.Semaphore(AT_ONCE)
        self._flying = 0
        self._landed = asyncio.Condition()
        self._moving = 0

    def add(
        self,
        number: int,
        directory: int,
        work: Work,
        *,
        after_all_inside: bool = False,
        is_shared: bool = False,
    ) -> None:
        """Have a change made.

        Args:
            number: of the file.
            directory: that it is in.
            work: makes the request; it raises OSError when it failed.
            after_all_inside: the file is a directory, and what is in it comes first.
            is_shared: it makes no request of its own, so it takes nobody's place.
        """
        before = {self._last[each] for each in (number, directory) if each in self._last}
        if after_all_inside:
            before |= self._inside(number)
        task = asyncio.create_task(self._run(number, before, work, is_shared=is_shared))
        self._tasks.add(task)
        self._last[number] = task
        self._above[number] = directory
        task.add_done_callback(lambda done: self._end(number, done))

    def is_pending(self, number: int) -> bool:
        """Say whether a file has changes on their way."""
        return number in self._last

    def has_inside(self, directory: int) -> bool:
        """Say whether changes of what is in a directory are on their way."""
        return directory in self._above.values()

    async def room(self) -> None:
        """Wait until not too many changes are on their way."""
        while len(self._tasks) >= WAITING_MAX:
            await self.progress()

    async def progress(self) -> None:
        """Wait until one of the changes that are on their way has been made."""
        if self._tasks:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)

    async def settle(self, *numbers: int, inside: Iterable[int] = ()) -> None:
        """Wait until all changes of files, and of what is in directories, have been made.

        Raises:
            OSError: one of them failed, or the server does not answer.
        """
        tasks = {self._last[number] for number in numbers if number in self._last}
        for directory in inside:
            tasks |= self._inside(directory)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._deadline)
            if late:
                raise OSError(errno.EIO, "the server does not answer")
        for number in numbers:
            self.complain(number)

    def complain(self, number: int) -> None:
        """Tell that a change of a file has failed, once.

        Raises:
            OSError: it has.
        """
        error = self._errors.pop(number, None)
        if error is not None:
            raise error

    def complain_inside(self, directory: int) -> None:
        """Tell that a change of what is in a directory has failed, once.

        Raises:
            OSError: it has.
        """
        error = self._errors_inside.pop(directory, None)
        if error is not None:
            raise error

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Have no request in the background while the paths of many files change."""
        self._moving += 1
        try:
            async with self._landed:
                await self._landed.wait_for(lambda: not self._flying)
            yield
        finally:
            self._moving -= 1
            async with self._landed:
                self._landed.notify_all()

    async def finish(self, longest_seconds: float) -> None:
        """Wait for everything, and give up what is not made in time."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=longest_seconds)
            for task in late:
                task.cancel()

    def _inside(self, directory: int) -> set[asyncio.Task[None]]:
        return {self._last[number] for number, above in self._above.items() if above == directory}

    async def _run(
        self, number: int, before: set[asyncio.Task[None]], work: Work, *, is_shared: bool
    ) -> None:
        if before:
            await asyncio.wait(before)
        async with contextlib.nullcontext() if is_shared else self._room:
            if self._moving:
                async with self._landed:
                    await self._landed.wait_for(lambda: not self._moving)
            self._flying += 1
            try:
                await work()
            except OSError as error:
                self._fail(number, error)
            except Exception:  # noqa: BLE001 - nobody else would hear of it
                _log.exception("please report this")
                self._fail(number, OSError(errno.EIO, "an error of the mount itself"))
            finally:
                self._flying -= 1
                if self._moving:
                    async with self._landed:
                        self._landed.notify_all()

    def _fail(self, number: int, error: OSError) -> None:
        self._errors[number] = self._errors_inside[self._above[number]] = error

    def _end(self, number: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._last.get(number) is task:
            del self._last[number], self._above[number]
