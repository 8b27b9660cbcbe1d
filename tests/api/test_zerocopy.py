"""Files that are sent without passing through the program, by a real server to real sockets."""

import asyncio
import errno
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
import uvloop

from api.answers import Answer
from api.asgi import Headers, Message, Receive, Scope, Send
from api.beneath.cached import is_cached
from api.bodies import CutError
from api.files.ranges import Range
from api.files.transfer import send_range
from api.limits import Limits
from api.threads import Threads
from api.zerocopy import ZERO_COPY, has_zero_copy
from tests.api import support
from tests.api.support import Server, read_all

LARGE = 8 * 2**20
ASK = b"GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /file HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


Serving = Callable[..., AbstractContextManager[Server]]


class _OneFile:
    """Sends one file, and notes how."""

    log_id = ""

    def __init__(self, path: Path, promised: int) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self.promised = promised
        self.kinds: list[str] = []
        self.cut = 0
        self.ended = 0
        self.executor = ThreadPoolExecutor(1)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return

        async def noting(message: Message) -> None:
            self.kinds.append(message["type"])
            await send(message)

        head = [(b"content-length", b"%d" % self.promised)]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        part, left = Range(0, self.promised), asyncio.Event()
        zero_copy = has_zero_copy(scope)
        try:
            threads = Threads(self.executor)
            await send_range(threads, self.fd, part, noting, left, zero_copy=zero_copy)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except CutError:
            self.cut += 1
        finally:
            self.ended += 1

    def quick(self, _path: bytes, _query: bytes, _headers: Headers) -> Answer | None:
        return None

    def stop(self) -> None:
        pass


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def serving(request: pytest.FixtureRequest) -> Serving:
    """Serve on either event loop: they treat descriptors and buffers in ways of their own."""
    return partial(support.serving, loop_factory=request.param)


@pytest.fixture
def content() -> bytes:
    return os.urandom(LARGE)


@pytest.fixture
def app(tmp_path: Path, content: bytes) -> Iterator[_OneFile]:
    path = tmp_path / "file"
    path.write_bytes(content)
    made = _OneFile(path, LARGE)
    if not is_cached(made.fd, LARGE, 0):
        pytest.skip("the kernel does not say what is in memory")
    yield made
    made.executor.shutdown()
    os.close(made.fd)


def body_of(connection: socket.socket) -> bytes:
    return read_all(connection).partition(b"\r\n\r\n")[2]


def receive_exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = connection.recv(size - len(found))
        assert piece
        found += piece
    return bytes(found)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_file_in_memory_is_sent_without_being_read(
    serving: Serving, app: _OneFile, content: bytes
) -> None:
    with serving(app) as server, server.connect() as connection:
        connection.sendall(LAST)
        assert body_of(connection) == content
    assert set(app.kinds) == {ZERO_COPY}
    assert app.ended == 1


def test_the_connection_serves_on(serving: Serving, app: _OneFile, content: bytes) -> None:
    with serving(app) as server, server.connect() as connection:
        for _ in range(3):
            connection.sendall(ASK)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += receive_exactly(connection, 1)
            assert receive_exactly(connection, LARGE) == content


def test_a_client_that_takes_its_time_gets_all_of_it(
    serving: Serving, app: _OneFile, content: bytes
) -> None:
    with serving(app) as server, server.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
        connection.sendall(LAST)
        found = bytearray()
        while piece := connection.recv(50_000):
            found += piece
    assert found.partition(b"\r\n\r\n")[2] == content


def test_a_client_that_takes_nothing_is_cut_off_and_keeps_nobody_waiting(
    serving: Serving, app: _OneFile, content: bytes
) -> None:
    limits = Limits(receive_seconds=1.0, progress_bytes_min=16_384)
    with serving(app, limits) as server, server.connect() as lazy, server.connect() as other:
        before = descriptors()
        lazy.sendall(ASK)
        other.sendall(LAST)
        assert body_of(other) == content
        server.wait_until(lambda: app.ended == 2)
        server.wait_until(lambda: len(server.connections) == 0)
        assert len(body_of(lazy)) < LARGE
        server.wait_until(lambda: descriptors() <= before)


def test_a_client_that_leaves_ends_its_request(serving: Serving, app: _OneFile) -> None:
    with serving(app, Limits(receive_seconds=600)) as server:
        connection = server.connect()
        connection.sendall(ASK)
        assert connection.recv(1000)
        connection.close()
        server.wait_until(lambda: app.ended == 1)


def test_a_server_that_stops_does_not_wait_for_a_client(serving: Serving, app: _OneFile) -> None:
    limits = Limits(receive_seconds=600, stop_seconds=0.1)
    with serving(app, limits) as server, server.connect() as connection:
        connection.sendall(ASK)
        assert connection.recv(1000)
        server.stop()
        assert app.ended == 1


@pytest.mark.parametrize("size", [0, 100_000, LARGE - 1])
def test_a_file_that_became_shorter_is_cut_and_never_made_up(
    serving: Serving, app: _OneFile, content: bytes, size: int
) -> None:
    os.ftruncate(app.fd, size)
    with serving(app) as server, server.connect() as connection:
        connection.sendall(ASK)
        assert content.startswith(body_of(connection))
    assert app.cut == 1


def test_what_is_not_in_memory_is_told() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(2**20)
        assert not is_cached(file.fileno(), 2**20, 0)
        file.write(b"x" * 2**20)
        file.flush()
        if not is_cached(file.fileno(), 2**20, 0):
            pytest.skip("the kernel does not say what is in memory")
        assert is_cached(file.fileno(), 1, 2**20 - 1)
        assert not is_cached(file.fileno(), 2, 2**20 - 1)


def test_a_filesystem_that_may_have_to_ask_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)

    def refuses(*_: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "as NFS says")

    with path.open("r+b") as file:
        monkeypatch.setattr(os, "preadv", refuses)
        assert not is_cached(file.fileno(), 100, 0)
