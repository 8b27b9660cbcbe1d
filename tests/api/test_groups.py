import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.groups import Groups

DEADLINE_SECONDS = 120


class Worker:
    """Doubles numbers; even and odd ones never together, and none that are below zero.

    Attributes:
        groups: that it was given.
        may_go: it waits for that before it answers a group.
    """

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.begun = threading.Event()

    def work(self, group: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(group))
        self.begun.set()
        assert self.may_go.wait(DEADLINE_SECONDS)
        if 1_000 in group:
            raise OSError("all of it")
        return [ValueError(number) if number < 0 else 2 * number for number in group]

    @staticmethod
    def fits(group: Sequence[int], number: int) -> bool:
        return group[0] % 2 == number % 2


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


async def in_turn(worker: Worker, groups: Groups[int, int], *numbers: int) -> list[object]:
    """Ask for all numbers but the first while a group of the first is at work."""
    worker.may_go.clear()
    first = asyncio.ensure_future(groups.run(numbers[0]))
    await asyncio.to_thread(worker.begun.wait, DEADLINE_SECONDS)
    rest = [asyncio.ensure_future(groups.run(number)) for number in numbers[1:]]
    await asyncio.sleep(0)
    worker.may_go.set()
    return list(await asyncio.gather(first, *rest, return_exceptions=True))


def test_what_comes_meanwhile_is_done_together(executor: ThreadPoolExecutor) -> None:
    worker = Worker()
    groups = Groups(executor, worker.work, worker.fits)
    assert asyncio.run(in_turn(worker, groups, 1, 3, 5, 7)) == [2, 6, 10, 14]
    assert worker.groups == [[1], [3, 5, 7]]


def test_what_does_not_fit_makes_a_group_of_its_own(executor: ThreadPoolExecutor) -> None:
    worker = Worker()
    groups = Groups(executor, worker.work, worker.fits)
    assert asyncio.run(in_turn(worker, groups, 1, 3, 4, 5, 6)) == [2, 6, 8, 10, 12]
    assert worker.groups == [[1], [3, 5], [4, 6]]


def test_an_error_is_told_to_who_asked_for_it(executor: ThreadPoolExecutor) -> None:
    worker = Worker()
    groups = Groups(executor, worker.work, worker.fits)
    first, good, bad = asyncio.run(in_turn(worker, groups, 1, 3, -5))
    assert (first, good) == (2, 6)
    assert isinstance(bad, ValueError)


def test_an_error_of_all_is_told_to_all_and_ends_nothing(executor: ThreadPoolExecutor) -> None:
    worker = Worker()
    groups = Groups(executor, worker.work, worker.fits)
    found = asyncio.run(in_turn(worker, groups, 1, 1_000, 2, 3))
    assert [type(each) for each in found] == [int, OSError, OSError, int]


def test_who_has_gone_is_not_told_and_the_others_are(executor: ThreadPoolExecutor) -> None:
    worker = Worker()
    groups = Groups(executor, worker.work, worker.fits)

    async def ask() -> int:
        worker.may_go.clear()
        first = asyncio.ensure_future(groups.run(1))
        await asyncio.to_thread(worker.begun.wait, DEADLINE_SECONDS)
        gone, stays = asyncio.ensure_future(groups.run(3)), asyncio.ensure_future(groups.run(5))
        await asyncio.sleep(0)
        gone.cancel()
        worker.may_go.set()
        return await first + await stays

    assert asyncio.run(ask()) == 12
    assert worker.groups == [[1], [3, 5]]


def test_it_begins_again_after_a_rest(executor: ThreadPoolExecutor) -> None:
    worker = Worker()
    groups = Groups(executor, worker.work, worker.fits)

    async def ask() -> list[int]:
        found = []
        for number in range(100):
            found.append(await groups.run(number))
            if number % 10 == 0:
                await asyncio.sleep(0.01)
        return found

    assert asyncio.run(ask()) == [2 * number for number in range(100)]
