"""The server against clients that are broken, slow, greedy or hostile, over raw sockets."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from api.answers import Answer
from api.asgi import Headers, QuickApplication, Receive, Scope, Send
from api.limits import Limits
from tests.api.support import (
    LOG_ID,
    MemoryLog,
    Server,
    make_app,
    node_id,
    read_all,
    read_answer,
    serving,
    statuses,
)

GET = b"GET /api/v1/cursor HTTP/1.1\r\nHost: localhost\r\n\r\n"
CLOSE = b"GET /api/v1/root HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /api/v1/cursor HTTP/1.1\r\nHost: localhost\r\n"
HURRIED = Limits(receive_seconds=0.5, keep_alive_seconds=0.5, progress_bytes_min=1000)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(make_app(MemoryLog())) as running:
        yield running


@pytest.fixture(scope="module")
def hurried() -> Iterator[Server]:
    with serving(make_app(MemoryLog()), HURRIED) as running:
        yield running


def talk(server: Server, raw: bytes) -> bytes:
    """Send bytes, end the sending side, and return all that comes back."""
    with server.connect() as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def answers_until_closed(server: Server, raw: bytes) -> list[int]:
    """Send bytes and wait for the server, not the client, to close."""
    with server.connect() as connection:
        # A server that refuses early may close before everything is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        return statuses(read_all(connection))


# The set of requests that proxies and servers read differently. Each hides a second
# request (SMUGGLED) that must never be answered, or asks for what is not spoken here.
SMUGGLED = b"GET /api/v1/root HTTP/1.1\r\nHost: localhost\r\n\r\n"
REFUSED = {
    "length-and-chunked": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked-and-length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two-lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + SMUGGLED,
    "two-equal-lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + SMUGGLED,
    "length-list": POST + b"Content-Length: 5,5\r\n\r\nhello" + SMUGGLED,
    "length-plus": POST + b"Content-Length: +5\r\n\r\nhello" + SMUGGLED,
    "length-minus": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "length-hex": POST + b"Content-Length: 0x5\r\n\r\nhello" + SMUGGLED,
    "length-empty": POST + b"Content-Length: \r\n\r\n" + SMUGGLED,
    "length-space": POST + b"Content-Length: 5 5\r\n\r\nhello" + SMUGGLED,
    "length-huge": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + SMUGGLED,
    "coding-unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding-vertical-tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding-not-last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "coding-twice": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "space-before-colon": POST + b"Content-Length : 5\r\n\r\nhello" + SMUGGLED,
    "space-before-coding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "folded-field": POST + b"X-A: b\r\n c\r\n\r\n" + SMUGGLED,
    "folded-first-field": b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n" + SMUGGLED,
    "bare-line-feed": b"GET /api/v1/cursor HTTP/1.1\nHost: localhost\n\n" + SMUGGLED,
    "bare-line-feed-in-fields": POST + b"X-A: b\nContent-Length: 5\r\n\r\nhello" + SMUGGLED,
    "bare-carriage-return": POST + b"X-A: b\rContent-Length: 5\r\n\r\nhello" + SMUGGLED,
    "nul-in-field": POST + b"X-A: \x00\r\n\r\n" + SMUGGLED,
    "nul-in-name": POST + b"X\x00A: b\r\n\r\n" + SMUGGLED,
    "no-colon": POST + b"nonsense\r\n\r\n" + SMUGGLED,
    "empty-name": POST + b": b\r\n\r\n" + SMUGGLED,
    "chunk-size-prefix": POST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
    "chunk-size-17-digits": POST
    + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" + b"0" * 16 + b"\r\nx",
    "chunk-size-negative": POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "chunk-extension-line-feed": POST
    + b"Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n" + SMUGGLED,
    "chunk-without-end": POST
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n" + SMUGGLED,
    "version-9.9": b"GET /api/v1/cursor HTTP/9.9\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "version-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version-1.2": b"GET /api/v1/cursor HTTP/1.2\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "version-0.9": b"GET /api/v1/cursor\r\n\r\n",
    "version-0.9-named": b"GET /api/v1/cursor HTTP/0.9\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "no-host": b"GET /api/v1/cursor HTTP/1.1\r\n\r\n" + SMUGGLED,
    "two-hosts": b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "two-hosts-1.0": b"GET / HTTP/1.0\r\nHost: localhost\r\nHost: evil\r\n\r\n" + SMUGGLED,
    "absolute-other-host": b"GET http://evil/api/v1/cursor HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "authority-form": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
    "asterisk-form": b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space-in-target": b"GET /api/v1/ cursor HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "not-ascii-target": b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "method-unknown": b"STEAL / HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "method-lower-case": b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n" + SMUGGLED,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}  # fmt: skip


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_an_ambiguous_request_is_refused_and_the_connection_closed(
    server: Server, payload: bytes
) -> None:
    assert answers_until_closed(server, payload) == [400]


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_an_ambiguous_request_after_a_good_one_costs_only_itself(
    server: Server, payload: bytes
) -> None:
    found = answers_until_closed(server, GET + payload)
    assert found in ([200], [200, 400])


def test_a_refusal_is_json(server: Server) -> None:
    raw = talk(server, b"GET / HTTP/1.1\r\n\r\n")
    assert b"content-type: application/json; charset=utf-8\r\n" in raw
    assert b"connection: close\r\n" in raw
    body = {"error": "bad_request", "detail": "there must be exactly one Host field"}
    assert json.loads(raw.partition(b"\r\n\r\n")[2]) == body | {"log_id": LOG_ID}


def test_every_refusal_names_the_log(server: Server, hurried: Server) -> None:
    for refused, raw, status in (
        (server, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000, 431),
        (server, GET[:-2] + b"X: " + b"x" * 33_000 + b"\r\n\r\n", 431),
        (server, b"nonsense\r\n\r\n", 400),
        (hurried, b"GET / HTTP/1.1\r\nHost: loc", 408),
    ):
        with refused.connect() as connection:
            connection.sendall(raw)
            answer = read_all(connection)
        assert statuses(answer) == [status]
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["log_id"] == LOG_ID


@pytest.mark.parametrize("count", [1, 2, 15])
def test_each_request_gets_one_answer_in_order(server: Server, count: int) -> None:
    slow = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    missing = b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = answers_until_closed(server, (GET + missing + slow) * count + CLOSE)
    assert found == [200, 404, 200] * count + [200]


def test_nothing_is_answered_after_close(server: Server) -> None:
    assert answers_until_closed(server, CLOSE + SMUGGLED) == [200]


def test_requests_may_come_byte_by_byte(server: Server) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GET + CLOSE:
            connection.send(bytes([byte]))
        assert statuses(read_all(connection)) == [200, 200]


@pytest.mark.parametrize("path", ["/api/v1/cursor", "/api/v1/root"])
def test_a_get_may_have_a_body_that_nobody_reads(server: Server, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n".encode()
    sized = head + b"Content-Length: 5\r\n\r\nhello"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"
    assert answers_until_closed(server, sized + chunked + sized + CLOSE) == [200] * 4


def test_a_body_may_be_large_when_nobody_wants_it(server: Server) -> None:
    raw = POST + b"Content-Length: 3000000\r\n\r\n" + b"x" * 3_000_000 + CLOSE
    assert answers_until_closed(server, raw) == [405, 200]


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    assert answers_until_closed(server, b"GET /api/v1/cursor HTTP/1.0\r\n\r\n") == [200]
    kept = b"GET /api/v1/cursor HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert answers_until_closed(server, kept + SMUGGLED) == [200]


def test_the_target_may_name_this_host(server: Server) -> None:
    raw = b"GET http://localhost/api/v1/cursor HTTP/1.1\r\nHost: localhost\r\n\r\n" + CLOSE
    assert answers_until_closed(server, raw) == [200, 200]


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"nonsense"])
def test_a_wish_for_another_protocol_is_ignored(server: Server, protocol: bytes) -> None:
    raw = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
    assert answers_until_closed(server, raw + SMUGGLED) == [200]


def test_a_header_below_the_limit_is_taken(server: Server) -> None:
    limit = Limits().header_bytes_max
    padded = GET[:-2] + b"X-Pad: " + b"a" * (limit - 200) + b"\r\n\r\n"
    assert answers_until_closed(server, padded * 3 + CLOSE) == [200] * 4


@pytest.mark.parametrize(
    "head",
    [
        GET[:-2] + b"X-Pad: " + b"a" * 33_000 + b"\r\n\r\n",
        GET[:-2] + b"".join(b"X-%d: a\r\n" % n for n in range(4_000)) + b"\r\n",
        b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        GET[:-2] + b"X-Pad: " + b"a" * 500_000 + b"\r\n\r\n",
    ],
    ids=["one field", "many fields", "target", "half a megabyte"],
)
def test_a_header_above_the_limit_is_refused(server: Server, head: bytes) -> None:
    assert answers_until_closed(server, head + SMUGGLED)[0] == 431


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        (GET[:-2], b"X-Pad: " + b"a" * 60_000),
        (GET[:-2], b"a"),
        (GET[:-2], b"X: y\r\n"),
        (b"", b"\r\n"),
    ],
    ids=["long fields", "one field", "fields", "empty lines"],
)
def test_a_header_without_end_is_cut_off(server: Server, start: bytes, unit: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(start)
        sent = 0
        try:
            while sent < 50_000_000:
                sent += connection.send(unit * (65_536 // len(unit) + 1))
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 50_000_000


@pytest.mark.parametrize(
    "start", [b"0\r\nX-Trailer: ", b"5;ext="], ids=["trailer", "chunk extension"]
)
@pytest.mark.parametrize("head", [POST, GET[:-2]], ids=["post", "get"])
def test_what_is_no_body_is_cut_off(server: Server, head: bytes, start: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + start)
        sent = 0
        try:
            while sent < 50_000_000:
                sent += connection.send(b"a" * 65_536)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 50_000_000


def test_too_many_requests_at_once_are_not_queued(server: Server) -> None:
    slow = b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    found = answers_until_closed(server, slow * 5_000)
    assert 1 <= len(found) <= Limits().pipeline_max + 2
    assert set(found) == {200}


def seconds_until_closed(server: Server, raw: bytes) -> tuple[float, list[int]]:
    with server.connect() as connection:
        began = time.monotonic()
        connection.sendall(raw)
        found = statuses(read_all(connection))
        return time.monotonic() - began, found


@pytest.mark.parametrize(
    ("raw", "answers"),
    [
        (b"", []),
        (b"G", [408]),
        (GET[:-2], [408]),
        (GET[:-2] + b"Content-Length: 5\r\n\r\nhell", [408]),
        (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", [408]),
        (POST + b"Content-Length: 5\r\n\r\nhell", [405]),
        (GET, [200]),
        (GET + GET[:9], [200, 408]),
        (SMUGGLED, [200]),
    ],
    ids=[
        "silent", "first byte", "half a head", "half a body", "half the chunks", "refused body",
        "idle", "second head", "idle after a task",
    ],
)  # fmt: skip
def test_a_client_that_stops_sending_is_cut_off(
    hurried: Server, raw: bytes, answers: list[int]
) -> None:
    seconds, found = seconds_until_closed(hurried, raw)
    assert found == answers
    assert 0.2 < seconds < 10


def drip(server: Server, start: bytes, unit: bytes) -> int:
    """Send a unit every now and then until the server closes; return how many it took."""
    with server.connect() as connection:
        connection.settimeout(0.05)
        connection.sendall(start)
        for sent in range(2_000):
            try:
                connection.sendall(unit)
                if not connection.recv(4096):
                    return sent
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                return sent
    raise AssertionError("the server never closed")


@pytest.mark.parametrize(
    ("start", "unit"),
    [
        (GET[:-2], b"X: y\r\n"),
        (GET[:-2] + b"X: ", b"a"),
        (GET[:-2] + b"Content-Length: 1000000\r\n\r\n", b"a"),
        (GET[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
        (b"", b"\r\n"),
    ],
    ids=["fields", "field", "body", "chunks", "empty lines"],
)
def test_a_client_that_drips_is_cut_off(hurried: Server, start: bytes, unit: bytes) -> None:
    assert drip(hurried, start, unit) < 400


BIG = b"GET /api/v1/changes?max_size=10000 HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def big_log() -> MemoryLog:
    """Return a log whose first page is larger than the kernel's buffers."""
    log = MemoryLog()
    for number in range(10_000):
        log.create(b"%d" % number * 120)
    return log


def test_clients_that_do_not_read_cannot_fill_the_memory(big_log: MemoryLog) -> None:
    limits = Limits(unsent_bytes_max=2**20, stop_seconds=0)
    with serving(make_app(big_log), limits) as server, contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(server.connect())
            connection.sendall(GET)
            assert read_answer(connection) == 200
            connection.sendall(BIG)
            wait_for_connections(server, 0)  # alone it is already too much
        assert server.ask("/api/v1/cursor").status == 200


def test_a_client_that_does_not_read_is_cut_off(big_log: MemoryLog) -> None:
    with serving(make_app(big_log), HURRIED) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(GET)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        connection.sendall(BIG)
        wait_for_connections(server, 0)
        length = int(re.findall(rb"content-length: (\d+)", whole := read_all(connection))[0])
        assert len(whole) < length


def test_a_broken_body_behind_another_request_ends_the_connection() -> None:
    app = _Slow()
    with serving(app) as server, server.connect() as connection:
        connection.sendall(BUSY)
        server.wait_until(lambda: app.entered == 1)
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\n")
        assert read_all(connection) == b""


def test_a_broken_body_of_a_request_that_was_answered_is_not_answered_again(
    server: Server,
) -> None:
    with server.connect() as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        assert read_answer(connection) == 405
        connection.sendall(b"0x5\r\n")
        assert read_all(connection) == b""


def test_a_wish_for_another_protocol_may_come_with_a_body(server: Server) -> None:
    with server.connect() as connection:
        head = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n"
        connection.sendall(POST + head)
        assert read_answer(connection) == 405
        connection.sendall(b"hello" + SMUGGLED)
        assert read_all(connection) == b""


class _Slow:
    """Answers when it is told to."""

    log_id = ""

    def __init__(self) -> None:
        self.entered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
            return
        self.entered += 1
        while (await receive())["type"] != "http.disconnect":
            pass

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        return Answer(b"{}") if (path, query) == (b"/quick", b"") and headers else None

    def stop(self) -> None:
        pass


def wait_for_connections(server: Server, count: int) -> None:
    server.wait_until(lambda: len(server.connections) == count)


def is_served(server: Server) -> bool:
    try:
        return server.ask("/api/v1/cursor").status == 200
    except OSError:
        return False


QUICK = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n"
BUSY = b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_half_open_connections_give_way_to_a_new_one() -> None:
    with serving(_Slow(), Limits(address_connections_max=5)) as server:
        silent = [server.connect() for _ in range(5)]
        wait_for_connections(server, 5)
        with server.connect() as connection:
            connection.sendall(QUICK)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
            assert read_all(silent[0]) == b""
            wait_for_connections(server, 5)
        for one in silent:
            one.close()


def test_a_connection_that_was_of_use_gives_way_last() -> None:
    with (
        serving(_Slow(), Limits(connections_max=3)) as server,
        server.connect() as used,
        server.connect() as silent,
        server.connect() as busy,
    ):
        used.sendall(QUICK)
        assert used.recv(4096).startswith(b"HTTP/1.1 200 OK")
        busy.sendall(BUSY)
        wait_for_connections(server, 3)
        with server.connect() as late:
            late.sendall(QUICK)
            assert late.recv(4096).startswith(b"HTTP/1.1 200 OK")
            assert read_all(silent) == b""
            used.sendall(QUICK)
            assert used.recv(4096).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "limits", [Limits(address_connections_max=3), Limits(connections_max=3)], ids=["own", "all"]
)
def test_when_all_are_busy_a_new_connection_is_refused(limits: Limits) -> None:
    app = _Slow()
    with serving(app, limits) as server:
        busy = [server.connect() for _ in range(3)]
        for one in busy:
            one.sendall(BUSY)
        server.wait_until(lambda: app.entered == 3)
        with server.connect() as connection:
            assert statuses(read_all(connection)) == [503]
        busy.pop().close()
        wait_for_connections(server, 2)
        with server.connect() as connection:
            connection.sendall(QUICK)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        for one in busy:
            one.close()


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET / HTTP/1.1\r\nX: ",
        POST + b"Content-Length: 9\r\n\r\n1",
        GET[:-2] + b"Content-Length: 9\r\n\r\n1",
    ],
    ids=["silent", "head", "refused body", "ignored body"],
)
def test_many_half_open_connections_shut_nobody_out(start: bytes) -> None:
    with serving(make_app(MemoryLog()), Limits(address_connections_max=64)) as server:
        idle = []
        for _ in range(400):
            connection = server.connect()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(start)  # it may have given way already
            idle.append(connection)
            assert len(server.connections) <= 64
        # Those that are just being answered are busy, but not for long.
        server.wait_until(lambda: is_served(server))
        for connection in idle:
            connection.close()


def test_a_client_that_waits_to_be_invited_is_invited(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert b" 405 " in connection.recv(4096)


def test_a_path_is_looked_up_as_it_was_sent(server: Server) -> None:
    raw = f"GET /api/v1/nodes/{node_id(1)}/path HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert answers_until_closed(server, raw + CLOSE) == [404, 200]


def test_the_application_is_the_kind_that_is_served() -> None:
    app: QuickApplication = _Slow()
    assert app.quick(b"/quick", b"", [(b"host", b"x")]) == Answer(b"{}")
