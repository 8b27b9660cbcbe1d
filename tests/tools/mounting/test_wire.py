"""The client's connections: kept, replaced when they are cut, and clear about errors."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from api.limits import Limits
from tests.api.spockfs.client import basic
from tests.api.spockfs.spocking import spocked
from tools.mounting.following import Follower, Line, parse
from tools.mounting.homes import Homes
from tools.mounting.nodes import ROOT, Nodes
from tools.mounting.wire import CONNECTIONS_MAX, Pool, parse_url

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Pool]:
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = Pool(parse_url(f"http://127.0.0.1:{port}"))
    try:
        yield pool
    finally:
        pool.close()
        server.close()
        await server.wait_closed()


def test_addresses_are_understood() -> None:
    server = parse_url("https://ann:s%40t@nas.example/disk/")
    assert (server.host, server.port, server.prefix) == ("nas.example", 443, "/disk")
    assert server.is_secure
    assert server.secret == basic("ann", "s@t")["Authorization"]
    assert parse_url("http://[::1]:9090").port == 9090
    for wrong in ("ftp://nas", "nas:9090", "http://", ""):
        with pytest.raises(ValueError, match="is no address"):
            parse_url(wrong)


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    with spocked(tmp_path) as disk:

        async def work() -> None:
            pool = Pool(parse_url(f"http://127.0.0.1:{disk.server.port}/"))
            for _ in range(5):
                assert (await pool.ask("GETATTR", b"/")).status == 200
            assert len(disk.server.connections) == 1
            await asyncio.gather(*(pool.ask("GETATTR", b"/") for _ in range(2 * CONNECTIONS_MAX)))
            assert len(disk.server.connections) <= CONNECTIONS_MAX
            pool.close()

        asyncio.run(work())


def test_a_connection_that_the_server_has_closed_is_replaced(tmp_path: Path) -> None:
    with spocked(tmp_path, Limits(keep_alive_seconds=0.1)) as disk:

        async def work() -> None:
            pool = Pool(parse_url(f"http://127.0.0.1:{disk.server.port}/"))
            await pool.ask("GETATTR", b"/")
            await asyncio.to_thread(
                disk.server.wait_until, lambda: not len(disk.server.connections)
            )
            assert (await pool.ask("GETATTR", b"/")).status == 200
            pool.close()

        asyncio.run(work())


def test_errors_keep_their_number(tmp_path: Path) -> None:
    with spocked(tmp_path, users={"ann": "secret"}) as disk:

        async def work() -> None:
            url = f"http://ann:secret@127.0.0.1:{disk.server.port}/"
            pool = Pool(parse_url(url))
            with pytest.raises(FileNotFoundError):
                await pool.ask("GETATTR", b"/none")
            with pytest.raises(OSError, match="EINVAL") as failed:
                await pool.ask("READLINK", b"/")
            assert failed.value.errno == errno.EINVAL
            await pool.ask("MKDIR", b"/a\n\xff", {"X-Spock-mode": 0o700})
            pool.close()
            stranger = Pool(parse_url(url.replace("secret", "guess")))
            with pytest.raises(PermissionError):
                await stranger.ask("GETATTR", b"/")
            stranger.close()

        asyncio.run(work())
        assert (bytes(disk.path) + b"/a\n\xff") in {bytes(path) for path in disk.path.iterdir()}


def test_a_server_that_is_not_there_is_an_input_output_error() -> None:
    async def work() -> None:
        with pytest.raises(OSError, match="cannot reach") as failed:
            await Pool(parse_url("http://127.0.0.1:1/")).ask("GETATTR", b"/")
        assert failed.value.errno == errno.EIO

    asyncio.run(work())


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"])
def test_an_answer_that_breaks_off_is_never_taken_for_whole(answer: bytes) -> None:
    async def work() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        async with serving(handle) as pool:
            with pytest.raises(OSError, match="lost") as failed:
                await pool.ask("GET", b"/f")
            assert failed.value.errno == errno.EIO

    asyncio.run(work())


@pytest.mark.parametrize(("method", "times"), [("GETATTR", 2), ("DELETE", 1), ("RENAME", 1)])
def test_what_changes_something_is_never_asked_for_twice(method: str, times: int) -> None:
    """The server may have done it, and somebody else something more, before the answer was lost."""
    asked: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        if first.startswith(b"STATFS"):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
        else:
            asked.append(first)
        writer.close()

    async def work() -> None:
        async with serving(handle) as pool:
            await pool.ask("STATFS", b"/")
            with contextlib.suppress(OSError):
                await pool.ask(method, b"/f")

    asyncio.run(work())
    assert len(asked) == times


class Kernel:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def invalidate_inode(self, inode: int, attr_only: bool) -> None:  # noqa: FBT001 - as the library has it
        self.told.append((inode, "attributes" if attr_only else "all"))

    def invalidate_entry_async(
        self, inode_p: int, name: bytes, _deleted: int, *, ignore_enoent: bool
    ) -> None:
        assert ignore_enoent
        self.told.append((inode_p, name))


def test_the_kernel_is_told_what_others_do_and_not_what_it_did_itself() -> None:
    nodes, kernel, trusted = Nodes(), Kernel(), list[bool]()
    node = nodes.place(ROOT, b"f", (1, 10))
    node.seen = (10, 4, 100, 100)

    def trust(*, trusted: bool) -> None:
        trusts.append(trusted)

    trusts = trusted
    lines = [
        b"/f 10 4 100 100\n",  # what is known
        b"/f 10 0 50 50\n",  # and what was before
        b"/d/x 11 0 1 1\n",  # in a directory that the kernel has not seen
        b"/none -\n",
    ]
    news = [b"/f 10 5 200 200\n", b"/new%0A 12 0 1 1\n"]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in (b"", b"".join(lines), b"".join(news)):
            await reader.readuntil(b"\r\n\r\n")
            head = (
                f"HTTP/1.1 200 OK\r\nX-Spock-position: e:1\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode() + body)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 405 No\r\nX-Spock-errno: EOPNOTSUPP\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async def work() -> None:
        async with serving(handle) as pool:
            await Follower(pool, nodes, Homes(), kernel, trust).follow()

    asyncio.run(work())
    assert kernel.told == [
        (node.number, "all"),
        (ROOT, b"f"),
        (ROOT, "attributes"),
        (ROOT, b"new\n"),
        (ROOT, "attributes"),
    ]
    assert trusted == [True, True, True, False]


def test_lines_are_read() -> None:
    assert parse(b"/a%20b 1 2 3 4\n/c -\n") == [Line(b"/a b", (1, 2, 3, 4)), Line(b"/c", None)]
