"""Starting and stopping the server inside a program."""

import asyncio
import signal
import socket
import threading
import time

import pytest
import uvloop

from api.answers import Answer
from api.asgi import Headers, Receive, Scope, Send
from api.limits import Limits
from api.listening import Bound, ListenError
from api.server import StartError, serve
from tests.api.support import LOG_ID, MemoryLog, Server, make_app, read_all, serving, statuses


class _Lasting:
    """Has requests that end when the client leaves, and such that never end by themselves."""

    log_id = ""

    def __init__(self, *, starts: bool = True) -> None:
        self.starts = starts
        self.entered = threading.Event()
        self.left: list[str] = []
        self.is_down = False
        self.client: object = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["path"] == "/deaf":
            self.entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.left.append("deaf")
        else:
            self.client = scope["client"]
            self.entered.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.append("polite")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        if not self.starts:
            raise ValueError("it will not start")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.is_down = True
        await send({"type": "lifespan.shutdown.complete"})

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        return Answer(b"{}") if (path, query) == (b"/quick", b"") and headers else None

    def stop(self) -> None:
        pass


QUICK = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"


def seconds_to_stop(server: Server) -> float:
    began = time.monotonic()
    server.stop()
    return time.monotonic() - began


def test_it_stops_at_once_with_idle_and_half_open_connections() -> None:
    server = Server(make_app(MemoryLog()), Limits(stop_seconds=20))
    with server.connect() as idle, server.connect() as silent, server.connect() as half:
        idle.sendall(b"GET /api/v1/cursor HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(4096)
        half.sendall(b"GET /")
        server.wait_until(lambda: len(server.connections) == 3)
        assert seconds_to_stop(server) < 10
        assert [read_all(one) for one in (idle, silent, half)] == [b""] * 3


@pytest.mark.parametrize(("path", "left"), [("/deaf", "deaf"), ("/polite", "polite")])
def test_it_cuts_a_lasting_request_after_the_grace(
    path: str, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = _Lasting()
    server = Server(app, Limits(stop_seconds=0.2))
    with server.connect() as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert app.entered.wait(20)
        assert 0.2 <= seconds_to_stop(server) < 10
        assert read_all(connection) == b""
    assert app.left == [left]
    assert app.is_down
    assert "Traceback" not in caplog.text


def test_it_lets_a_request_finish() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class SlowLog(MemoryLog):
        def head(self) -> int:
            return -1 if begun.is_set() else super().head()

        def changes(self, cursor: int, limit: int):  # type: ignore[no-untyped-def]  # noqa: ANN202
            begun.set()
            assert go_on.wait(20)
            return super().changes(cursor, limit)

    log = SlowLog()
    log.create()
    server = Server(make_app(log), Limits(stop_seconds=20))
    with server.connect() as connection:
        connection.sendall(b"GET /api/v1/changes HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert begun.wait(20)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        go_on.set()
        raw = read_all(connection)
        stopping.join(20)
    assert statuses(raw) == [200]
    assert LOG_ID.encode() in raw


def test_a_new_connection_is_refused_while_it_stops() -> None:
    app = _Lasting()
    server = Server(app, Limits(stop_seconds=1))
    port = server.port
    with server.connect() as connection:
        connection.sendall(b"GET /polite HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert app.entered.wait(20)
        server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


class _Cut(_Lasting):
    """Has requests that can go on no longer when it is shut down."""

    def __init__(self) -> None:
        super().__init__()
        self._readings: list[asyncio.Future[None]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            for reading in self._readings:
                reading.cancel()
        else:
            self._readings.append(asyncio.get_running_loop().create_future())
            await self._readings[-1]


def test_who_comes_just_as_it_stops_is_told_or_left_but_never_a_failure() -> None:
    clients: list[socket.socket] = []
    stop = asyncio.Event()

    def come_and_stop(addresses: list[tuple[str, int]]) -> None:
        # The kernel takes them at once, the loop in its next turn; in the one after that they are
        # made known to the server, which stops just before.
        for _ in range(8):
            clients.append(socket.create_connection(addresses[0], timeout=20))
            clients[-1].sendall(b"GET /cut HTTP/1.1\r\nHost: localhost\r\n\r\n")
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, stop.set)

    async def run() -> None:
        with Bound("127.0.0.1", 0) as bound:
            await serve(_Cut(), bound, stop, come_and_stop)

    asyncio.run(run())
    for client in clients:
        with client:
            assert b" 500 " not in read_all(client)


async def _serve_on(host: str, port: int, app: _Lasting | None = None) -> None:
    stop = asyncio.Event()
    with Bound(host, port) as bound:
        await serve(app or _Lasting(), bound, stop, lambda _: stop.set())


def test_a_taken_port_is_one_clear_line() -> None:
    with serving(_Lasting()) as server, pytest.raises(ListenError) as caught:
        asyncio.run(_serve_on("127.0.0.1", server.port))
    assert str(caught.value) == (
        f"cannot listen on 127.0.0.1 port {server.port}: another program is using this port;"
        " stop it, or give another --port"
    )
    assert caught.value.is_taken


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-name.invalid"])
def test_an_address_of_another_machine_is_one_clear_line(host: str) -> None:
    with pytest.raises(ListenError) as caught:
        asyncio.run(_serve_on(host, 0))
    assert str(caught.value).startswith(f"cannot listen on {host} port 0: ")
    assert "\n" not in str(caught.value)
    assert not caught.value.is_taken


def test_an_application_that_does_not_start_is_told() -> None:
    with pytest.raises(StartError):
        asyncio.run(_serve_on("127.0.0.1", 0, _Lasting(starts=False)))


def test_a_port_is_free_again_after_the_stop() -> None:
    with serving(_Lasting()) as server:
        port = server.port
        with server.connect() as connection:
            connection.sendall(QUICK)
            assert connection.recv(100)
    asyncio.run(_serve_on("127.0.0.1", port))


def test_it_serves_on_uvloop_too() -> None:
    async def ask() -> bytes:
        stop = asyncio.Event()
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            serve(
                _Lasting(), Bound("127.0.0.1", 0), stop, lambda at: listening.set_result(at[0][1])
            )
        )
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", await asyncio.wait_for(listening, 20)
        )
        writer.write(QUICK)
        answer = await reader.readline()
        stop.set()
        assert await reader.read() != b""
        writer.close()
        await asyncio.wait_for(task, 20)
        return answer

    assert uvloop.run(ask()) == b"HTTP/1.1 200 OK\r\n"


def test_signals_and_workers_are_the_callers_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    seen = []

    async def look() -> None:
        stop = asyncio.Event()

        def on_ready(_: object) -> None:
            seen.extend([signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)])
            stop.set()

        seen.extend([signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)])
        with Bound("127.0.0.1", 0) as bound:
            await serve(_Lasting(), bound, stop, on_ready)

    asyncio.run(look())
    assert seen[:2] == seen[2:]


def test_an_answer_has_a_date_and_no_server_name() -> None:
    with serving(make_app(MemoryLog())) as server:
        for path in ("/api/v1/cursor", "/api/v1/root"):
            headers = server.ask(path).headers
            assert headers["date"].endswith(" GMT")
            assert "server" not in headers


def test_a_forwarded_address_is_not_believed() -> None:
    app = _Lasting()
    with serving(app, Limits(stop_seconds=0.1)) as server, server.connect() as connection:
        head = b"GET /polite HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(head + b"X-Forwarded-For: 10.0.0.1\r\n\r\n")
        assert app.entered.wait(20)
        assert app.client == connection.getsockname()
