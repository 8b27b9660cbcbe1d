"""Small writes are sent as large ones, in order, and what fails is told."""

import asyncio
import errno

import pytest

from tools.mounting.pending import PIECE_BYTES, Pending

FILE = 5


class Sent:
    """Takes what is sent."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.error: OSError | None = None
        self.arrived = asyncio.Event()

    async def put(self, number: int, start: int, data: bytes) -> None:
        assert number == FILE
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.pieces.append((start, data))
        self.arrived.set()


def test_what_follows_is_joined() -> None:
    async def work() -> None:
        sent = Sent()
        pending = Pending(sent.put)
        for number in range(10):
            await pending.write(FILE, 4 * number, b"%04d" % number)
        assert sent.pieces == []
        await pending.flush(FILE)
        assert sent.pieces == [(0, b"".join(b"%04d" % number for number in range(10)))]
        await pending.flush(FILE)
        assert len(sent.pieces) == 1

    asyncio.run(work())


def test_what_does_not_follow_is_sent_apart_and_in_order() -> None:
    async def work() -> None:
        sent = Sent()
        pending = Pending(sent.put)
        for start, data in ((0, b"aa"), (10, b"bb"), (12, b"cc"), (0, b"dd")):
            await pending.write(FILE, start, data)
        await pending.flush(FILE)
        assert sent.pieces == [(0, b"aa"), (10, b"bbcc"), (0, b"dd")]

    asyncio.run(work())


def test_much_is_sent_without_waiting_for_more() -> None:
    async def work() -> None:
        sent = Sent()
        pending = Pending(sent.put)
        await pending.write(FILE, 0, bytes(PIECE_BYTES))
        assert [len(data) for _, data in sent.pieces] == [PIECE_BYTES]

    asyncio.run(work())


def test_what_waits_is_sent_after_a_while() -> None:
    async def work() -> None:
        sent = Sent()
        pending = Pending(sent.put)
        await pending.write(FILE, 0, b"aa")
        async with asyncio.timeout(30):
            await sent.arrived.wait()
        assert sent.pieces == [(0, b"aa")]

    asyncio.run(work())


@pytest.mark.parametrize("is_late", [False, True])
def test_what_cannot_be_sent_is_told_once(*, is_late: bool) -> None:
    async def work() -> None:
        sent = Sent()
        pending = Pending(sent.put)
        sent.error = OSError(errno.ENOSPC, "full")
        await pending.write(FILE, 0, b"aa")
        if is_late:
            await pending.flush_all()
        with pytest.raises(OSError, match="full"):
            await pending.flush(FILE)
        sent.error = None
        await pending.write(FILE, 0, b"bb")
        await pending.flush(FILE)
        assert sent.pieces == [(0, b"bb")]
        pending.forget(FILE)

    asyncio.run(work())


def test_only_what_has_bytes_waiting_is_looked_at() -> None:
    async def work() -> None:
        pending = Pending(Sent().put)
        assert pending.waiting() == []
        await pending.write(FILE, 0, b"x")
        assert pending.waiting() == [FILE]
        await pending.flush(FILE)
        pending.forget(FILE)
        assert pending.waiting() == []

    asyncio.run(work())
