"""`/cursor?sync=`: what is answered when the roots have caught up, when not in time, and if not."""

from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from api.app import Dependencies, create_app
from api.limits import Delivery
from tests.api.support import (
    LOG_ID,
    READY,
    STARTING,
    MemoryLog,
    Server,
    make_app,
    serving,
    status_of,
)

CURSOR = "/api/v1/cursor"


class Roots:
    """Two roots whose barriers the test ends."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Future[str]]] = []

    def begin(self) -> dict[str, Future[str]]:
        self.begun.append({"a": Future(), "b": Future()})
        return self.begun[-1]


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def roots() -> Roots:
    return Roots()


@pytest.fixture
def server(log: MemoryLog, roots: Roots) -> Iterator[Server]:
    dependencies = Dependencies(
        log, lambda: READY, lambda: status_of(log), "1.2.3", sync=roots.begin
    )
    with serving(create_app(dependencies, delivery=Delivery(streams_max=1))) as running:
        yield running


class Asking:
    """A request on a connection of its own, whose answer is read later."""

    def __init__(self, server: Server, query: str) -> None:
        self._socket = server.connect()
        head = f"GET {CURSOR}?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close"
        self._socket.sendall(f"{head}\r\n\r\n".encode())

    def answer(self) -> tuple[int, bytes]:
        received = b""
        while part := self._socket.recv(65536):
            received += part
        self.leave()
        head, _, body = received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def leave(self) -> None:
        self._socket.close()


def test_the_cursor_is_that_of_when_all_have_caught_up(
    server: Server, log: MemoryLog, roots: Roots
) -> None:
    asking = Asking(server, "sync=60")
    server.wait_until(lambda: bool(roots.begun))
    log.create(b"a")
    roots.begun[0]["a"].set_result("notified")
    log.create(b"b")
    roots.begun[0]["b"].set_result("compared")
    assert asking.answer() == (
        200,
        b'{"cursor":2,"log_id":"%b","synced":true,"roots":['
        b'{"name":"a","synced":true,"how":"notified","reason":""},'
        b'{"name":"b","synced":true,"how":"compared","reason":""}]}' % LOG_ID.encode(),
    )


def test_a_root_that_is_away_is_named(server: Server, roots: Roots) -> None:
    asking = Asking(server, "sync=60")
    server.wait_until(lambda: bool(roots.begun))
    roots.begun[0]["a"].set_result("notified")
    roots.begun[0]["b"].set_exception(OSError("offline: it is not there"))
    status, body = asking.answer()
    assert status == 200
    assert b'"synced":false,"roots"' in body
    assert b'"reason":"offline: it is not there"' in body


def test_what_is_late_is_named(server: Server, roots: Roots) -> None:
    asking = Asking(server, "sync=0.2")
    server.wait_until(lambda: bool(roots.begun))
    roots.begun[0]["a"].set_result("notified")
    status, body = asking.answer()
    assert status == 504
    assert b'"error":"not_synced"' in body
    assert b"late: b" in body
    assert roots.begun[0]["b"].cancelled()


def test_a_client_that_leaves_is_not_waited_for(server: Server, roots: Roots) -> None:
    asking = Asking(server, "sync=60")
    server.wait_until(lambda: bool(roots.begun))
    asking.leave()
    server.wait_until(roots.begun[0]["a"].cancelled)


def test_no_more_wait_than_may(server: Server, roots: Roots) -> None:
    asking = Asking(server, "sync=60")
    server.wait_until(lambda: bool(roots.begun))
    refused = server.ask(f"{CURSOR}?sync=1")
    assert (refused.status, refused.json["error"]) == (503, "too_many_streams")
    asking.leave()


@pytest.mark.parametrize("query", ["0", "-1", "61", "x", "", "1&sync=1", "1&at=5", "nan"])
def test_a_time_that_cannot_be_waited_is_refused(server: Server, query: str) -> None:
    answer = server.ask(f"{CURSOR}?sync={query}")
    assert (answer.status, answer.json["error"]) == (400, "invalid_sync")


def test_before_the_first_scan_there_is_no_barrier(log: MemoryLog) -> None:
    with serving(make_app(log, STARTING)) as starting:
        assert starting.ask(f"{CURSOR}?sync=1").status == 503


def test_without_roots_there_is_nothing_to_wait_for(log: MemoryLog) -> None:
    with serving(make_app(log)) as server:
        assert server.get(f"{CURSOR}?sync=1") == {
            "cursor": 0, "log_id": LOG_ID, "synced": True, "roots": []
        }  # fmt: skip


def test_a_stop_ends_the_wait(server: Server, roots: Roots) -> None:
    asking = Asking(server, "sync=60")
    server.wait_until(lambda: bool(roots.begun))
    server.stop()
    server.wait_until(roots.begun[0]["a"].cancelled)
    asking.leave()
