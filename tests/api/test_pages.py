"""Pages that are read before they are asked for are still what is true."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from api.answers import Answer
from api.pages import Pages, Reading
from api.query import ChangesQuery

DEADLINE_SECONDS = 20.0


class _Book:
    """Has pages 1 to `last`, counts how often each is read, and can be made to fail."""

    def __init__(self, last: int = 5) -> None:
        self.last = last
        self.head = 100
        self.reads: list[int] = []
        self.fails = False
        self.go_on = threading.Event()
        self.go_on.set()
        self.pages = Pages(self.read, lambda: self.head)

    def read(self, asked: ChangesQuery) -> Reading:
        self.reads.append(asked.cursor)
        assert self.go_on.wait(DEADLINE_SECONDS)
        if self.fails:
            raise OSError("unreadable")
        answer = Answer(b"%d/%d at %d" % (asked.cursor, asked.limit, self.head))
        return Reading(answer, asked.cursor + 1, has_more=asked.cursor < self.last)

    async def ask(self, cursor: int, limit: int = 10) -> bytes:
        found = await self.pages.page(ChangesQuery(cursor, limit))
        return found.answer.body

    async def until_read(self, count: int, busy: int = 0) -> None:
        """Wait until so many pages were begun, and at most `busy` of them are being read."""
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        while len(self.reads) < count or self.pages._busy > busy:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.001)


def run(test: Callable[[_Book], Awaitable[None]], book: _Book | None = None) -> _Book:
    used = book or _Book()

    async def main() -> None:
        try:
            await test(used)
        finally:
            used.pages.close()

    asyncio.run(main())
    return used


def test_a_drain_reads_every_page_once() -> None:
    async def drain(book: _Book) -> None:
        for cursor in range(1, 6):
            assert await book.ask(cursor) == b"%d/10 at 100" % cursor
            await book.until_read(min(cursor + 1, 5))

    assert run(drain).reads == [1, 2, 3, 4, 5]


def test_a_page_read_ahead_is_not_used_after_the_log_has_grown() -> None:
    async def grow(book: _Book) -> None:
        await book.ask(1)
        await book.until_read(2)
        book.head = 101
        assert await book.ask(2) == b"2/10 at 101"

    assert run(grow).reads[:3] == [1, 2, 2]


@pytest.mark.parametrize(("cursor", "limit"), [(3, 10), (2, 11), (1, 10)])
def test_another_request_gets_its_own_page(cursor: int, limit: int) -> None:
    async def ask(book: _Book) -> None:
        await book.ask(1)
        await book.until_read(2)
        assert await book.ask(cursor, limit) == b"%d/%d at 100" % (cursor, limit)

    run(ask)


def test_the_last_page_is_followed_by_nothing() -> None:
    async def ask(book: _Book) -> None:
        await book.ask(5)
        await asyncio.sleep(0)
        await book.until_read(1)

    assert run(ask).reads == [5]


def test_a_failure_ahead_of_time_is_tried_again_and_then_told() -> None:
    async def fail(book: _Book) -> None:
        await book.ask(1)
        book.fails = True
        await book.until_read(2)
        with pytest.raises(OSError, match="unreadable"):
            await book.ask(2)
        book.fails = False
        assert await book.ask(2) == b"2/10 at 100"

    run(fail)


def test_nothing_is_read_ahead_while_others_wait() -> None:
    async def ask(book: _Book) -> None:
        book.go_on.clear()
        both = asyncio.gather(book.ask(1), book.ask(5))
        await book.until_read(2, busy=2)
        book.go_on.set()
        await both

    assert run(ask).reads.count(2) <= 1


def test_a_page_that_nobody_asks_for_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.pages.AHEAD_SECONDS", 0.01)

    async def ask(book: _Book) -> None:
        await book.ask(1)
        await book.until_read(2)
        deadline = asyncio.get_running_loop().time() + DEADLINE_SECONDS
        while book.pages._ahead is not None:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.001)

    run(ask)


def test_after_the_end_nothing_is_begun() -> None:
    async def ask(book: _Book) -> None:
        await book.ask(1)
        book.pages.close()
        await asyncio.sleep(0)

    assert len(run(ask).reads) <= 2
