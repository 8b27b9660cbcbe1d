"""Changes in the background: each after what it depends on, and what fails is told."""

import asyncio
import errno

import pytest

from tools.mounting.journal import WAITING_MAX, Journal, Work

TOP, DIRECTORY, FILE, OTHER = 1, 2, 3, 4


class Worked:
    """Works when it may, and notes in which order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.may = {name: asyncio.Event() for name in "abc"}

    def of(self, name: str, error: OSError | None = None) -> Work:
        async def work() -> None:
            await self.may[name].wait()
            self.done.append(name)
            if error is not None:
                raise error

        return work


def test_a_file_waits_for_its_directory_and_others_do_not() -> None:
    async def work() -> None:
        journal, worked = Journal(), Worked()
        journal.add(DIRECTORY, TOP, worked.of("a"))
        journal.add(FILE, DIRECTORY, worked.of("b"))
        journal.add(OTHER, TOP, worked.of("c"))
        for name in "bca":
            worked.may[name].set()
            await asyncio.sleep(0.01)
        await journal.settle(FILE, OTHER)
        assert worked.done == ["c", "a", "b"]
        assert not journal.is_pending(FILE)

    asyncio.run(work())


def test_a_directory_waits_for_what_is_in_it_when_that_is_asked_for() -> None:
    async def work() -> None:
        journal, worked = Journal(), Worked()
        journal.add(FILE, DIRECTORY, worked.of("a"))
        journal.add(DIRECTORY, TOP, worked.of("b"), after_all_inside=True)
        worked.may["b"].set()
        await asyncio.sleep(0.01)
        assert journal.has_inside(DIRECTORY)
        worked.may["a"].set()
        await journal.settle(inside=(TOP,))
        assert worked.done == ["a", "b"]

    asyncio.run(work())


def test_what_failed_is_told_once_by_file_and_once_by_directory() -> None:
    async def work() -> None:
        journal, worked = Journal(), Worked()
        worked.may["a"].set()
        journal.add(FILE, DIRECTORY, worked.of("a", OSError(errno.ENOSPC, "full")))
        with pytest.raises(OSError, match="full"):
            await journal.settle(FILE)
        await journal.settle(FILE)
        with pytest.raises(OSError, match="full"):
            journal.complain_inside(DIRECTORY)
        journal.complain_inside(DIRECTORY)

    asyncio.run(work())


def test_who_waits_too_long_is_told() -> None:
    async def work() -> None:
        journal, worked = Journal(0.01), Worked()
        journal.add(FILE, DIRECTORY, worked.of("a"))
        with pytest.raises(OSError, match="does not answer"):
            await journal.settle(FILE)
        await journal.finish(0.01)
        assert worked.done == []

    asyncio.run(work())


def test_nothing_is_on_its_way_while_paths_change() -> None:
    async def work() -> None:
        journal, worked = Journal(), Worked()
        journal.add(FILE, DIRECTORY, worked.of("a"))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, worked.may["a"].set)
        worked.may["b"].set()
        async with journal.still():
            assert worked.done == ["a"]
            journal.add(OTHER, DIRECTORY, worked.of("b"))
            await asyncio.sleep(0.01)
            assert worked.done == ["a"]
        await journal.settle(OTHER)
        assert worked.done == ["a", "b"]

    asyncio.run(work())


def test_who_makes_too_much_waits() -> None:
    async def work() -> None:
        journal, worked = Journal(), Worked()
        for number in range(WAITING_MAX):
            journal.add(number + 10, TOP, worked.of("a"))
        waiting = asyncio.create_task(journal.room())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        worked.may["a"].set()
        await waiting
        await journal.finish(10)
        assert len(worked.done) == WAITING_MAX

    asyncio.run(work())
