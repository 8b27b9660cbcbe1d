"""Threads that share a processor while many small requests come."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterator

import pytest

from api.huddle import Huddle, Sample, choose, sample
from eventlog.clock import SystemClock
from tests.api.support import DEADLINE_SECONDS

ALL = os.sched_getaffinity(0)
STAT = """cpu  10 0 10 500 5 1 2 0 0 0
cpu0 100 20 30 7000 50 4 6 40 9 9
cpu7 200 0 100 7000 50 0 0 0 0 0
intr 1 2 3
"""


def test_what_processors_did_is_read_in_seconds() -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    assert sample(3.0, STAT, 1.5) == Sample(3.0, {0: 200 / ticks, 7: 300 / ticks}, 1.5)


@pytest.mark.parametrize(
    ("busy", "own", "current", "chosen"),
    [
        ({0: 0.9, 1: 0.1}, 0.0, None, 1),
        ({0: 0.9, 1: 0.1}, 0.9, 0, 0),  # it is busy with us
        ({0: 0.9, 1: 0.1}, 0.2, 0, 1),
        ({0: 0.4, 1: 0.3}, 0.0, 0, 0),  # not worth a move
        ({0: 0.1, 2: 0.0}, 0.0, None, 0),  # the other one may not be used
        ({}, 0.0, 1, None),
    ],
)
def test_the_processor_is_chosen_that_others_use_least(
    busy: dict[int, float], own: float, current: int | None, chosen: int | None
) -> None:
    before = Sample(0.0, dict.fromkeys(busy, 0.0), 0.0)
    assert choose(before, Sample(1.0, busy, own), {0, 1}, current) == chosen


@pytest.fixture
def threads() -> Iterator[dict[str, int]]:
    end = threading.Event()
    made = [threading.Thread(target=end.wait, name=name) for name in ("hand", "other")]
    for thread in made:
        thread.start()
    yield {thread.name: thread.native_id or 0 for thread in made}
    end.set()
    for thread in made:
        thread.join()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - a timer of what is tested, which tells nobody
            await asyncio.sleep(0.02)


async def at_once(huddle: Huddle, count: int, condition: Callable[[], bool]) -> None:
    """Make so many requests at a time, again and again."""

    async def make() -> None:
        while not condition():
            with huddle.request():
                await asyncio.sleep(0.02)

    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*(make() for _ in range(count)))


def hands(thread: threading.Thread) -> bool:
    return thread.name == "hand"


@pytest.mark.skipif(len(ALL) < 2, reason="there is only one processor")
def test_those_that_take_part_share_a_processor_until_there_is_a_rest(
    threads: dict[str, int],
) -> None:
    async def run() -> None:
        huddle = Huddle(hands, SystemClock())
        await at_once(huddle, 2, lambda: huddle.processor is not None)
        assert os.sched_getaffinity(threads["hand"]) == {huddle.processor}
        assert os.sched_getaffinity(threads["other"]) == ALL == os.sched_getaffinity(0)
        await until(lambda: huddle.processor is None)
        assert os.sched_getaffinity(threads["hand"]) == ALL

    asyncio.run(run())


def test_one_request_at_a_time_changes_nothing(threads: dict[str, int]) -> None:
    async def run() -> None:
        huddle, clock = Huddle(hands, SystemClock()), SystemClock()
        end = clock.monotonic() + 1
        await at_once(huddle, 1, lambda: clock.monotonic() > end)
        assert os.sched_getaffinity(threads["hand"]) == ALL

    asyncio.run(run())


@pytest.mark.skipif(len(ALL) < 2, reason="there is only one processor")
def test_closing_lets_them_go(threads: dict[str, int]) -> None:
    async def run() -> None:
        huddle = Huddle(hands, SystemClock())
        await at_once(huddle, 2, lambda: huddle.processor is not None)
        huddle.close()
        assert os.sched_getaffinity(threads["hand"]) == ALL
        clock = SystemClock()
        end = clock.monotonic() + 1
        await at_once(huddle, 2, lambda: clock.monotonic() > end)  # those that were under way
        assert os.sched_getaffinity(threads["hand"]) == ALL

    asyncio.run(run())


@pytest.mark.skipif(len(ALL) < 2, reason="there is only one processor")
def test_where_it_is_forbidden_requests_are_served_all_the_same(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_thread: int, _processors: set[int]) -> None:
        raise PermissionError(1, "not here")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    caplog.set_level(logging.WARNING)

    async def run() -> None:
        huddle = Huddle(hands, SystemClock())
        hand = threading.Event()
        thread = threading.Thread(target=hand.wait, name="hand")
        thread.start()
        try:
            await at_once(huddle, 2, lambda: "cannot share" in caplog.text)
            assert huddle.processor is None
        finally:
            hand.set()
            thread.join()

    asyncio.run(run())
