"""New files that the server hears of late: nothing is lost without a word."""

import asyncio
import contextlib
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from tests.api.spockfs.spocking import Spocked, spocked
from tools.mounting.behind import Behind
from tools.mounting.homes import Home, Homes, Owner
from tools.mounting.nodes import ROOT, Node, Nodes
from tools.mounting.removing import STREAK_MIN, Streak
from tools.mounting.told import told
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


class Relay:
    """Stands between a client and a server, which may die just when it has done something.

    Args:
        port: of the server.
        method: whose first answer is lost.
        then: called when the server has answered, and nobody has heard of it.

    Attributes:
        port: where it listens.
        lost: how many answers were.
    """

    def __init__(self, port: int, method: bytes, then: Callable[[], None]) -> None:
        self._port = port
        self._method = method
        self._then = then
        self.port = 0
        self.lost = 0
        self._tasks: set[asyncio.Future[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._relay, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield
            await asyncio.gather(*self._tasks)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = asyncio.get_running_loop().create_future()
        self._tasks.add(over)
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(_pass_on(theirs, writer))
        try:
            while request := await reader.read(2**16):
                if not self.lost and request.startswith(self._method):
                    self.lost += 1
                    back.cancel()  # nothing of the answer gets through
                    await asyncio.wait({back})
                    ours.write(request)
                    assert await theirs.read(1)
                    self._then()
                    break
                ours.write(request)
        finally:
            ours.close()
            writer.close()
            await asyncio.wait({back})
            over.set_result(None)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)


def relayed(
    port: int,
    work: Callable[[Mounting], Coroutine[None, None, None]],
    method: bytes,
    then: Callable[[], None] = lambda: None,
) -> int:
    """Do work through a relay; returns how many answers were lost."""

    async def all_() -> int:
        relay = Relay(port, method, then)
        async with relay.listening():
            mounting = Mounting(relay.port)
            try:
                await work(mounting)
            finally:
                mounting.pool.close()
        return relay.lost

    return asyncio.run(all_())


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
        assert len(mounting.behind.lost) == 2
        assert mounting.vanished == [(ROOT, b"a"), (ROOT, b"b")]
        assert mounting.homes.get(ROOT) is None

    with caplog.at_level(logging.WARNING):
        run(port, work)
    said = [record.getMessage() for record in caplog.records]
    assert sum("the server is lost" in line for line in said) == 1
    assert [line.split(" ")[0] for line in said if "could not be written" in line] == ["/a", "/b"]


def test_nothing_more_is_promised_while_the_server_is_gone(disk: Spocked) -> None:
    async def work(mounting: Mounting) -> None:
        mounting.behind.is_lost = True
        assert mounting.behind.home(ROOT, b"b", NOBODY, FILE) is None
        mounting.behind.is_lost = False
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
    disk.at("shared").write_text("theirs, longer")

    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"shared", b"mine", os.O_TRUNC)
        await mounting.behind.settle(node.number)
        # Who does not want it cut, as `>>` does not, would have kept what is there.
        for number, flag in enumerate((os.O_EXCL, os.O_EXCL | os.O_TRUNC, 0, os.O_APPEND)):
            name = b"exclusive%d" % number
            disk.at(name.decode()).write_text("theirs")
            mounting.homes.add(ROOT, Home(NOBODY, NOBODY, is_inherited=False))
            node = await mounting.make(name, flag=flag)
            with pytest.raises(FileExistsError):
                await mounting.behind.settle(node.number)
            assert mounting.vanished.pop() == (ROOT, name)
            assert len(mounting.behind.lost) == number + 1
            assert disk.at(name.decode()).read_text() == "theirs"

    run(disk.server.port, work)
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


def test_what_was_made_but_not_answered_is_known_again(disk: Spocked) -> None:
    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"a", flag=os.O_TRUNC)
        await mounting.behind.settle(node.number)
        assert len(mounting.behind.lost) == 0
        found = disk.at("a").stat()
        assert node.key == (found.st_dev, found.st_ino)

    assert relayed(disk.server.port, work, b"MAKE ") == 1
    assert disk.at("a").read_bytes() == b"data"


@pytest.mark.parametrize("flag", [os.O_EXCL, os.O_TRUNC, 0])
@pytest.mark.parametrize("theirs", [b"", b"data", b"theirs, longer"])
def test_what_somebody_else_has_put_in_its_place_meanwhile_stays(
    disk: Spocked, theirs: bytes, flag: int
) -> None:
    def replace() -> None:
        disk.at("new").write_bytes(theirs)
        disk.at("new").rename(disk.at("a"))

    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"a", flag=flag)
        with pytest.raises(FileExistsError):
            await mounting.behind.settle(node.number)
        assert len(mounting.behind.lost) == 1

    assert relayed(disk.server.port, work, b"MAKE ", replace) == 1
    assert disk.at("a").read_bytes() == theirs


def test_what_was_to_replace_something_replaces_nothing_that_is_later(disk: Spocked) -> None:
    """A file waits for its directory, whose answer is lost; meanwhile somebody else makes it."""

    def theirs() -> None:
        (disk.at("d") / "a").write_bytes(b"theirs")

    async def work(mounting: Mounting) -> None:
        home = mounting.behind.home(ROOT, b"d", NOBODY, 0o755)
        assert home is not None
        above, _ = await mounting.behind.mkdir(ROOT, b"d", home, 0o755)
        inside = mounting.behind.home(above.number, b"a", NOBODY, FILE)
        assert inside is not None
        node, _ = await mounting.behind.create(above.number, b"a", inside, FILE, os.O_TRUNC)
        node.lookups += 1
        mounting.behind.send(node)
        with pytest.raises(OSError, match=r"exists|ESTALE|409|removed"):
            await mounting.behind.settle(node.number)

    assert relayed(disk.server.port, work, b"MKDIR ", theirs) == 1
    assert (disk.at("d") / "a").read_bytes() == b"theirs"


def test_directories_and_links_are_known_again_or_left_alone(disk: Spocked) -> None:
    async def work(mounting: Mounting) -> None:
        home = mounting.behind.home(ROOT, b"d", NOBODY, 0o755)
        assert home is not None
        node, _ = await mounting.behind.mkdir(ROOT, b"d", home, 0o755)
        link, _ = await mounting.behind.symlink(ROOT, b"l", home, b"where")
        await mounting.behind.settle(node.number, link.number)
        assert len(mounting.behind.lost) == 0

    assert relayed(disk.server.port, work, b"MKDIR ") == 1
    disk.at("l").unlink()
    disk.at("d").rmdir()

    def replace() -> None:
        disk.at("l").unlink()
        disk.at("l").symlink_to("theirs")

    async def other(mounting: Mounting) -> None:
        home = mounting.behind.home(ROOT, b"l", NOBODY, 0)
        assert home is not None
        link, _ = await mounting.behind.symlink(ROOT, b"l", home, b"where")
        with pytest.raises(FileExistsError):
            await mounting.behind.settle(link.number)

    assert relayed(disk.server.port, other, b"SYMLINK ", replace) == 1
    assert disk.at("l").readlink().name == "theirs"


def test_attributes_of_what_has_come_in_its_place_are_left_alone(disk: Spocked) -> None:
    def replace() -> None:
        disk.at("new").write_bytes(b"theirs")
        disk.at("new").chmod(0o600)
        disk.at("new").rename(disk.at("a"))

    async def work(mounting: Mounting) -> None:
        node = await mounting.make(b"a")
        assert node.told is not None
        mounting.behind._queued.clear()  # as if its request had begun
        assert mounting.behind.amend(node, node.told, [("CHMOD", {"X-Spock-mode": 0o666})])
        with pytest.raises(OSError, match="ESTALE"):
            await mounting.behind.settle(node.number)

    assert relayed(disk.server.port, work, b"CHMOD ", replace) == 1
    assert disk.at("a").stat().st_mode & 0o777 == 0o600


async def known(mounting: Mounting, disk: Spocked, name: str) -> Node:
    """Return a file as a mount knows it that has looked at it."""
    reply = await mounting.pool.ask(
        "GETATTR", f"/{name}".encode(), {"X-Spock-ns": 1, "X-Spock-attr": 1}
    )
    found = told(reply)
    node = mounting.nodes.place(ROOT, name.encode(), (found.dev, found.ino))
    node.seen = found.seen
    assert disk.at(name).exists()
    return node


async def remove(mounting: Mounting, node: Node) -> None:
    """Do what the mount does for unlink(2)."""
    _, name = next(iter(node.names))
    assert mounting.behind.going.may_remove(ROOT, node)
    await mounting.behind.going.remove(ROOT, name, node)
    mounting.nodes.remove(ROOT, name)
    assert mounting.behind.going.has(ROOT, name)


async def settled(mounting: Mounting) -> None:
    await mounting.behind.settle(inside=(ROOT,))
    assert not mounting.behind.unsent()


def test_many_files_are_removed_by_few_requests(disk: Spocked) -> None:
    for number in range(100):
        disk.at(f"{number}").write_text("x")

    async def work(mounting: Mounting) -> None:
        mounting.behind.going.is_offered = True
        nodes = [await known(mounting, disk, f"{number}") for number in range(100)]
        for node in nodes:
            await remove(mounting, node)
        assert len(mounting.behind.unsent()) == 100
        await settled(mounting)
        assert mounting.behind.lost == []

    run(disk.server.port, work)
    assert [path.name for path in disk.path.iterdir() if path.name != ".nasfeed"] == []


def test_what_was_removed_but_not_answered_is_removed(disk: Spocked) -> None:
    disk.at("a").write_text("x")

    async def work(mounting: Mounting) -> None:
        mounting.behind.going.is_offered = True
        await remove(mounting, await known(mounting, disk, "a"))
        await settled(mounting)
        assert mounting.behind.lost == []

    assert relayed(disk.server.port, work, b"REMOVE ") == 1
    assert not disk.at("a").exists()


def test_a_new_file_with_the_name_of_a_removed_one_stays(disk: Spocked) -> None:
    disk.at("a").write_text("x")

    def replace() -> None:
        disk.at("a").write_text("theirs, perhaps with the same inode number")

    async def work(mounting: Mounting) -> None:
        mounting.behind.going.is_offered = True
        await remove(mounting, await known(mounting, disk, "a"))
        await settled(mounting)
        with pytest.raises(OSError, match="ESTALE"):
            mounting.behind.journal.complain_inside(ROOT)
        assert mounting.behind.lost == [b"/a"]
        assert mounting.vanished == [(ROOT, b"a")]

    assert relayed(disk.server.port, work, b"REMOVE ", replace) == 1
    assert disk.at("a").read_text().startswith("theirs")


def test_what_has_come_in_the_place_of_what_is_to_go_stays(disk: Spocked) -> None:
    disk.at("a").write_text("x")

    async def work(mounting: Mounting) -> None:
        mounting.behind.going.is_offered = True
        node = await known(mounting, disk, "a")
        disk.at("new").write_text("theirs")
        disk.at("new").rename(disk.at("a"))
        await remove(mounting, node)
        await settled(mounting)
        assert mounting.behind.lost == []
        assert mounting.vanished == [(ROOT, b"a")]

    run(disk.server.port, work)
    assert disk.at("a").read_text() == "theirs"


def test_one_of_many_is_told_from_one_alone() -> None:
    streak = Streak()
    assert not any(streak.note(number * 0.1) for number in range(STREAK_MIN))
    assert streak.note(STREAK_MIN * 0.1)
    assert not streak.note(100.0)


def test_who_asks_for_a_file_waits_until_its_other_names_are_gone(disk: Spocked) -> None:
    disk.at("a").write_text("x")
    disk.at("b").hardlink_to(disk.at("a"))

    async def work(mounting: Mounting) -> None:
        mounting.behind.going.is_offered = True
        node = await known(mounting, disk, "a")
        assert await known(mounting, disk, "b") is node
        await remove(mounting, node)
        await mounting.behind.settle(node.number)
        assert disk.at("b").stat().st_nlink == 1

    run(disk.server.port, work)
