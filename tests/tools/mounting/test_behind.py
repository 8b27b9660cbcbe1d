"""New files that the server hears of late: nothing is lost without a word."""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from tests.api.spockfs.spocking import Spocked, spocked
from tools.mounting.behind import Behind
from tools.mounting.homes import Home, Homes, Owner
from tools.mounting.nodes import ROOT, Node, Nodes
from tools.mounting.wire import Pool, parse_url

NOW = 1_700_000_000_000_000_001
FILE = stat.S_IFREG | 0o644
NOBODY = Owner(0, 0)


class Mounting:
    """What a mount has, but the kernel.

    Attributes:
        vanished: names that the kernel was told to forget.
        renewed: files that it was told to ask for anew.
    """

    def __init__(self, port: int) -> None:
        self.pool = Pool(parse_url(f"http://127.0.0.1:{port}/"))
        self.nodes, self.homes = Nodes(), Homes()
        self.vanished: list[tuple[int, bytes]] = []
        self.renewed: list[int] = []
        self.behind = Behind(
            self.pool,
            self.nodes,
            self.homes,
            lambda: NOW,
            lambda directory, name: self.vanished.append((directory, name)),
            self.renewed.append,
        )
        self.behind.is_offered = True
        self.homes.add(ROOT, Home(NOBODY, NOBODY, is_inherited=False))

    async def make(self, name: bytes, data: bytes = b"data", flag: int = os.O_EXCL) -> Node:
        home = self.behind.home(ROOT, name, NOBODY, FILE)
        assert home is not None
        node, _ = await self.behind.create(ROOT, name, home, FILE, flag)
        node.lookups += 1
        assert self.behind.write(node, 0, data)
        self.behind.send(node)
        return node


def run(port: int, work: Callable[[Mounting], Coroutine[None, None, None]]) -> None:
    async def all_() -> None:
        mounting = Mounting(port)
        try:
            await work(mounting)
        finally:
            mounting.pool.close()

    asyncio.run(all_())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Spocked]:
    with spocked(tmp_path) as disk:
        yield disk


def test_a_mount_that_ends_without_its_server_names_what_is_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])

    async def work(mounting: Mounting) -> None:
        await mounting.make(b"a")
        await mounting.make(b"b")
        await mounting.behind.finish(0.1)
        assert mounting.behind.failed == 2
        assert mounting.vanished == [(ROOT, b"a"), (ROOT, b"b")]
        assert mounting.homes.get(ROOT) is None

    with caplog.at_level(logging.WARNING):
        run(port, work)
    said = [record.getMessage() for record in caplog.records]
    assert sum("the server is lost" in line for line in said) == 1
    assert [line.split(" ")[0] for line in said if "could not be written" in line] == ["/a", "/b"]


def test_nothing_more_is_promised_while_the_server_is_gone(disk: Spocked) -> None:
    async def work(mounting: Mounting) -> None:
        mounting.behind._is_lost = True
        assert mounting.behind.home(ROOT, b"b", NOBODY, FILE) is None
        mounting.behind._is_lost = False
        node = await mounting.make(b"a")
        await mounting.behind.settle(node.number)
        assert mounting.behind.home(ROOT, b"b", NOBODY, FILE) is not None

    run(disk.server.port, work)
    assert disk.at("a").read_bytes() == b"data"
    assert disk.at("a").stat().st_mtime_ns == NOW


def test_what_is_set_while_it_waits_is_sent_with_it(disk: Spocked) -> None:
    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"a")
        assert node.told is not None
        after = node.told._replace(mtime=5_000_000_006)
        assert mounting.behind.amend(node, after, [("UTIMENS", {})])
        assert node.pending == 1  # the one request
        await mounting.behind.settle(node.number)
        assert node.told is None

    run(disk.server.port, work)
    assert disk.at("a").stat().st_mtime_ns == 5_000_000_006


def test_what_somebody_else_has_made_meanwhile_is_left_alone_or_replaced(disk: Spocked) -> None:
    disk.at("exclusive").write_text("theirs")
    disk.at("shared").write_text("theirs, longer")

    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"shared", b"mine", 0)
        await mounting.behind.settle(node.number)
        node = await mounting.make(b"exclusive")
        with pytest.raises(FileExistsError):
            await mounting.behind.settle(node.number)
        assert mounting.vanished == [(ROOT, b"exclusive")]
        assert mounting.behind.failed == 1

    run(disk.server.port, work)
    assert disk.at("exclusive").read_text() == "theirs"
    assert disk.at("shared").read_text() == "mine"


def test_what_the_feed_told_meanwhile_is_asked_for_anew(disk: Spocked) -> None:
    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"a")
        node.noticed = 2**62  # somebody else has changed it later
        await mounting.behind.settle(node.number)
        assert mounting.renewed == [node.number]
        node = await mounting.make(b"b")
        await mounting.behind.settle(node.number)
        assert len(mounting.renewed) == 1

    run(disk.server.port, work)
