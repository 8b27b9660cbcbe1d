"""Streams over real sockets."""

import re
import socket
from collections.abc import Iterator

import pytest

from api.limits import Delivery, Limits
from api.protocol import GuardedProtocol
from eventlog.clock import SystemClock
from tests.api.events import StreamClient, shrink_receiving
from tests.api.support import LOG_ID, STARTING, MemoryLog, Server, make_app, node_id, serving

CLOCK = SystemClock()
STREAM = "/api/v1/changes/stream"
BRISK = Delivery(heartbeat_seconds=0.05)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def server(log: MemoryLog) -> Iterator[Server]:
    with serving(make_app(log)) as running:
        yield running


def test_history_comes_first_and_then_what_happens(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    with StreamClient(server) as client:
        assert client.status == 200
        assert client.headers["content-type"] == "text/event-stream"
        assert client.headers["x-accel-buffering"] == "no"
        assert "no-store" in client.headers["cache-control"]
        history, caught_up = client.events_until("caught_up")
        assert (history.name, history.id) == ("changes", "1")
        assert history.data == server.get("/api/v1/changes")
        assert (caught_up.id, caught_up.data) == ("1", {"cursor": 1, "log_id": LOG_ID})
        log.modify(1, size=9)
        event = client.event()
        assert (event.name, event.id) == ("changes", "2")
        assert event.data["changes"][0]["node"]["size"] == 9


def test_a_client_that_is_up_to_date_is_told_so_at_once(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    with StreamClient(server, f"{STREAM}?cursor=1") as client:
        assert client.event().name == "caught_up"


def test_the_last_event_id_wins_over_the_cursor(server: Server, log: MemoryLog) -> None:
    for _ in range(3):
        log.create()
    with StreamClient(server, f"{STREAM}?cursor=0", Last_Event_ID="2") as client:
        event = client.event()
        assert [change["node"]["id"] for change in event.data["changes"]] == [node_id(3)]


def test_a_long_history_comes_in_pieces(server: Server, log: MemoryLog) -> None:
    for _ in range(25):
        log.create()
    with StreamClient(server, f"{STREAM}?max_size=10") as client:
        *pieces, _ = client.events_until("caught_up")
    assert [(piece.id, len(piece.data["changes"])) for piece in pieces] == [
        ("10", 10), ("20", 10), ("25", 5)
    ]  # fmt: skip


def test_lines_of_json_say_the_same(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    with StreamClient(server, Accept="application/x-ndjson") as client:
        assert client.headers["content-type"] == "application/x-ndjson"
        assert client.line() == {"event": "changes", **server.get("/api/v1/changes")}
        assert client.line() == {"event": "caught_up", "cursor": 1, "log_id": LOG_ID}
        log.create(b"b")
        assert client.line()["changes"][0]["node"]["name"] == "b"


@pytest.mark.parametrize(
    "accept", ["*/*", "text/event-stream", "text/event-stream, application/x-ndjson;q=0.5"]
)
def test_others_get_events(server: Server, accept: str) -> None:
    with StreamClient(server, Accept=accept) as client:
        assert client.headers["content-type"] == "text/event-stream"


def test_browsers_are_told_when_to_come_back(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b""
        while not (found := re.search(rb"retry: (\d+)\n\n", received)):
            received += connection.recv(4096)
    assert int(found[1]) > 0


def test_a_heartbeat_carries_the_cursor(log: MemoryLog) -> None:
    log.create()
    with serving(make_app(log, delivery=BRISK)) as server, StreamClient(server) as client:
        *_, beat = client.events_until("heartbeat")
        assert (beat.id, beat.data) == ("1", {"cursor": 1, "log_id": LOG_ID})
        log.remove(log.create(b"never seen"), b"never seen")
        while (beat := client.event()).id == "1":
            assert beat.name == "heartbeat"
        assert (beat.name, beat.data["cursor"]) == ("heartbeat", 3)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("cursor=2", "cursor_expired"),
        ("cursor=99", "cursor_ahead"),
        ("cursor=7&log_id=other", "foreign_log"),
    ],
)
def test_a_cursor_that_cannot_be_honoured_is_a_reset(
    server: Server, log: MemoryLog, query: str, error: str
) -> None:
    for _ in range(9):
        log.create()
    log.first = 5
    with StreamClient(server, f"{STREAM}?{query}") as client:
        reset, everything, _ = client.events_until("caught_up")
        assert (reset.name, reset.id, reset.data["error"]) == ("reset", "0", error)
        assert reset.data == {**server.ask("/api/v1/changes?cursor=99").json, "error": error}
        assert len(everything.data["changes"]) == 9


def test_a_floor_that_rises_resets_a_running_stream(server: Server, log: MemoryLog) -> None:
    for _ in range(4):
        log.create()
    with StreamClient(server, f"{STREAM}?cursor=4") as client:
        client.events_until("caught_up")
        log.first = 5
        log.create()
        reset, everything, _ = client.events_until("caught_up")
        assert (reset.name, reset.data["error"]) == ("reset", "cursor_expired")
        assert (everything.id, len(everything.data["changes"])) == ("5", 5)


@pytest.mark.parametrize(
    ("target", "headers"),
    [("?cursor=x", {}), ("?cursor=1&cursor=1", {}), ("", {"Last_Event_ID": "x"})],
)
def test_a_malformed_cursor_is_refused(
    server: Server, target: str, headers: dict[str, str]
) -> None:
    with StreamClient(server, STREAM + target, **headers) as client:
        assert (client.status, client.body()["error"]) == (400, "invalid_cursor")


def test_there_is_no_stream_before_the_first_scan(log: MemoryLog) -> None:
    with serving(make_app(log, STARTING)) as server, StreamClient(server) as client:
        assert (client.status, client.body()["error"]) == (503, "starting")
        assert int(client.headers["retry-after"]) > 0


def test_more_streams_than_may_be_are_refused(log: MemoryLog) -> None:
    with serving(make_app(log, delivery=Delivery(streams_max=2))) as server:
        first, second = StreamClient(server), StreamClient(server)
        with second:
            with first, StreamClient(server) as third:
                assert (third.status, third.body()["error"]) == (503, "too_many_streams")
                assert int(third.headers["retry-after"]) > 0
                assert server.get("/api/v1/changes")["cursor"] == 0
            server.wait_until(lambda: len(server.connections) == 1)
            with StreamClient(server) as fourth:
                assert fourth.event().name == "caught_up"


def test_an_idle_stream_outlives_every_deadline(log: MemoryLog) -> None:
    hurried = Limits(receive_seconds=0.2, keep_alive_seconds=0.2)
    with serving(make_app(log), hurried) as server, StreamClient(server) as client:
        client.events_until("caught_up")
        with StreamClient(server) as later:  # of the same age as the deadlines, and gone
            later.events_until("caught_up")
            idle = server.connect()
            assert idle.recv(1) == b""  # the deadlines have passed for one who never asks
            idle.close()
        log.create(b"a")
        assert client.event().name == "changes"


def test_a_client_that_takes_nothing_is_dropped(log: MemoryLog) -> None:
    limits = Limits(receive_seconds=0.5)
    for number in range(3_000):
        log.create(b"%d" % number * 50)
    with serving(make_app(log), limits) as server:
        connection = server.connect()
        shrink_receiving(connection)
        connection.sendall(f"GET {STREAM} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        server.wait_until(lambda: len(server.connections) == 1)
        server.wait_until(lambda: not len(server.connections))
        connection.close()


def test_a_client_that_dies_silently_is_given_up_by_the_kernel(log: MemoryLog) -> None:
    """Heartbeats are too small to fill what waits for it, so no write would ever stall."""
    with serving(make_app(log), Limits(receive_seconds=7)) as server, StreamClient(server):
        (connection,) = server.connections
        assert isinstance(connection, GuardedProtocol)
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7_000


def test_a_slow_client_lags_and_costs_one_page(log: MemoryLog) -> None:
    with serving(make_app(log)) as server, StreamClient(server) as client:
        shrink_receiving(client.socket)
        client.events_until("caught_up")
        for number in range(20_000):
            log.create(b"%d" % number + b"x" * 200)
        (connection,) = server.connections
        server.wait_until(lambda: connection.outflow.unsent > 0)
        assert connection.outflow.unsent < 1_000_000
        last = client.event()
        while last.data["cursor"] < 20_000:
            last = client.event()
        assert last.data["cursor"] == 20_000


def test_a_stop_ends_streams_cleanly(log: MemoryLog) -> None:
    with serving(make_app(log)) as server, StreamClient(server) as client:
        client.events_until("caught_up")
        before = CLOCK.monotonic()
        server.stop()
        assert client.rest() == []
        assert CLOCK.monotonic() - before < 30


def test_many_streams_get_what_one_commit_brings(server: Server, log: MemoryLog) -> None:
    clients = [StreamClient(server) for _ in range(100)]
    for client in clients:
        client.events_until("caught_up")
    log.create(b"a")
    assert {client.event().id for client in clients} == {"1"}
    for client in clients:
        client.close()


def test_a_head_request_gets_no_stream(server: Server) -> None:
    answer = server.ask(STREAM, "HEAD")
    assert (answer.status, answer.body) == (200, b"")
