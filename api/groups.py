"""Has what many requests ask for done in groups, when it costs little more for many than for one.

One thread does it, group after group. What comes meanwhile makes the next group, so that there is
nothing to be set: one request alone waits for nobody, and the more there are, the larger groups
become. Only those who were just answered are waited for a moment, as they mostly ask again.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, NamedTuple, TypeVar

WAIT_SECONDS: Final = 0.003
"""How long a group waits to become as large as the last one."""

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Sequence[Item]], Sequence[Result | Exception]]
"""Does what a group asks for; returns for each of it the result, or what was raised."""

Fits = Callable[[Sequence[Item], Item], bool]
"""Says whether something can be done with a group."""


class _Asked(NamedTuple, Generic[Item, Result]):
    item: Item
    told: "asyncio.Future[Result]"


class Groups(Generic[Item, Result]):
    """Does what is asked for in groups. Used by one event loop.

    Args:
        executor: has a thread for it, when there is something to do.
        work: does it; what it raises, all of the group is told.
        fits: says what can be done together; a group of one is never asked about.
    """

    def __init__(self, executor: Executor, work: Work[Item, Result], fits: Fits[Item]) -> None:
        self._executor = executor
        self._work = work
        self._fits = fits
        self._enough = threading.Condition()
        self._waiting: deque[_Asked[Item, Result]] = deque()
        self._wanted = 0
        self._is_working = False

    async def run(self, item: Item) -> Result:
        """Return what is the result for an item.

        When the request is cancelled, it is done all the same.
        """
        loop = asyncio.get_running_loop()
        asked: _Asked[Item, Result] = _Asked(item, loop.create_future())
        if self._add(asked):
            self._executor.submit(self._run, loop)
        return await asked.told

    def _add(self, asked: _Asked[Item, Result]) -> bool:
        """Have an item wait; returns whether a thread must begin."""
        with self._enough:
            self._waiting.append(asked)
            if self._is_working:
                if len(self._waiting) == self._wanted:
                    self._enough.notify()
                return False
            self._is_working = True
            return True

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while group := self._take():
            items = [asked.item for asked in group]
            results: Sequence[Result | Exception]
            try:
                results = self._work(items)
            except Exception as error:  # noqa: BLE001 - handed to all who asked
                results = [error] * len(group)
            loop.call_soon_threadsafe(_tell, group, results)

    def _take(self) -> list[_Asked[Item, Result]]:
        """Return the next group; an empty one when there is none, and the thread must end."""
        with self._enough:
            self._enough.wait_for(lambda: len(self._waiting) >= self._wanted, WAIT_SECONDS)
            group = self._choose()
            self._wanted = len(group)
            self._is_working = bool(group)
            return group

    def _choose(self) -> list[_Asked[Item, Result]]:
        """Take what can be done together; the rest waits on, in order."""
        group: list[_Asked[Item, Result]] = []
        items: list[Item] = []
        rest: deque[_Asked[Item, Result]] = deque()
        for asked in self._waiting:
            if not items or self._fits(items, asked.item):
                group.append(asked)
                items.append(asked.item)
            else:
                rest.append(asked)
        self._waiting = rest
        return group


def _tell(group: Sequence[_Asked[Item, Result]], results: Sequence[Result | Exception]) -> None:
    for asked, result in zip(group, results, strict=True):
        if asked.told.done():
            continue  # cancelled: its client has gone
        if isinstance(result, Exception):
            asked.told.set_exception(result)
        else:
            asked.told.set_result(result)
