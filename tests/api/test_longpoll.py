"""A request for changes that waits is answered when there are some, and never too late."""

import threading
from collections.abc import Iterator

import pytest

from api.limits import Delivery
from eventlog.clock import SystemClock
from tests.api.support import LOG_ID, Answer, MemoryLog, Server, make_app, node_id, serving

CLOCK = SystemClock()


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def server(log: MemoryLog) -> Iterator[Server]:
    with serving(make_app(log)) as running:
        yield running


class Poll(threading.Thread):
    """A long poll that runs while the test goes on."""

    def __init__(self, server: Server, query: str) -> None:
        super().__init__()
        self._server = server
        self._query = query
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self.answer = self._server.ask(f"/api/v1/changes?{self._query}")

    def answered(self) -> Answer:
        self.join(30)
        assert self.answer is not None
        return self.answer


def sleepers(server: Server) -> int:
    return sum(connection.served for connection in server.connections)


def test_what_is_there_is_answered_at_once(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    before = CLOCK.monotonic()
    assert len(server.get("/api/v1/changes?cursor=0&wait=60")["changes"]) == 1
    assert CLOCK.monotonic() - before < 30


def test_a_commit_ends_the_wait(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    poll = Poll(server, "cursor=1&wait=60")
    server.wait_until(lambda: sleepers(server) == 1)
    assert poll.is_alive()
    log.modify(1, size=9)
    page = poll.answered().json
    assert (page["cursor"], page["changes"][0]["node"]["size"]) == (2, 9)


def test_without_a_commit_an_empty_page_comes_at_the_end(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    before = CLOCK.monotonic()
    page = server.get("/api/v1/changes?cursor=1&wait=0.25")
    assert page == {"cursor": 1, "changes": [], "has_more": False, "log_id": LOG_ID}
    assert CLOCK.monotonic() - before >= 0.25


def test_what_the_client_never_knew_does_not_end_the_wait(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    poll = Poll(server, "cursor=1&wait=60")
    server.wait_until(lambda: sleepers(server) == 1)
    log.remove(log.create(b"gone at once"), b"gone at once")
    log.create(b"b")
    page = poll.answered().json
    assert [change["node"]["id"] for change in page["changes"]] == [node_id(4)]


def test_what_the_client_never_knew_moves_the_cursor_at_the_end(
    server: Server, log: MemoryLog
) -> None:
    log.remove(log.create(b"gone at once"), b"gone at once")
    page = server.get("/api/v1/changes?cursor=0&wait=0.01")
    assert (page["cursor"], page["changes"]) == (2, [])


def test_a_lost_wake_up_is_backed_up(server: Server, log: MemoryLog) -> None:
    log.create(b"a")
    poll = Poll(server, "cursor=1&wait=60")
    server.wait_until(lambda: sleepers(server) == 1)
    log.wakeup.notify, lost = (lambda: None), log.wakeup.notify  # type: ignore[method-assign]
    log.create(b"b")
    assert len(poll.answered().json["changes"]) == 1
    log.wakeup.notify = lost  # type: ignore[method-assign]


@pytest.mark.parametrize("wait", ["61", "60.01", "-1", "x", "", "1e1", "nan", "1&wait=1"])
def test_a_time_that_cannot_be_waited_is_refused(server: Server, wait: str) -> None:
    answer = server.ask(f"/api/v1/changes?cursor=0&wait={wait}")
    assert (answer.status, answer.json["error"]) == (400, "invalid_wait")


@pytest.mark.parametrize("cursor", ["1", "2", "999"])
def test_a_cursor_that_cannot_be_honoured_is_gone_at_once(
    server: Server, log: MemoryLog, cursor: str
) -> None:
    for _ in range(9):
        log.create()
    log.first = 5
    assert server.ask(f"/api/v1/changes?cursor={cursor}&wait=60").status == 410


def test_a_floor_that_rises_ends_the_wait_with_gone(server: Server, log: MemoryLog) -> None:
    for _ in range(4):
        log.create()
    poll = Poll(server, "cursor=4&wait=60")
    server.wait_until(lambda: sleepers(server) == 1)
    log.first = 5
    log.create()
    assert (poll.answered().status, poll.answered().json["error"]) == (410, "cursor_expired")


def test_a_client_that_leaves_ends_the_wait(log: MemoryLog) -> None:
    with serving(make_app(log, delivery=Delivery(streams_max=1))) as server:
        with server.connect() as leaving:
            leaving.sendall(b"GET /api/v1/changes?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            server.wait_until(lambda: sleepers(server) == 1)
        server.wait_until(lambda: server.ask("/api/v1/changes?wait=0.01").status == 200)


def test_more_polls_than_may_wait_are_refused(log: MemoryLog) -> None:
    with serving(make_app(log, delivery=Delivery(streams_max=1))) as server:
        poll = Poll(server, "wait=60")
        server.wait_until(lambda: sleepers(server) == 1)
        refused = server.ask("/api/v1/changes?wait=60")
        assert (refused.status, refused.json["error"]) == (503, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        assert server.get("/api/v1/changes")["changes"] == []
        log.create()
        assert poll.answered().status == 200
        assert server.ask("/api/v1/changes?wait=0.01&cursor=1").status == 200


def test_a_stop_answers_the_wait(log: MemoryLog) -> None:
    with serving(make_app(log)) as server:
        poll = Poll(server, "wait=60")
        server.wait_until(lambda: sleepers(server) == 1)
        before = CLOCK.monotonic()
        server.stop()
        assert poll.answered().json["changes"] == []
        assert CLOCK.monotonic() - before < 30


def test_many_polls_are_woken_by_one_commit(server: Server, log: MemoryLog) -> None:
    polls = [Poll(server, "wait=60") for _ in range(100)]
    server.wait_until(lambda: sleepers(server) == 100)
    log.create(b"a")
    assert {poll.answered().json["cursor"] for poll in polls} == {1}


def test_a_head_request_does_not_wait(server: Server) -> None:
    before = CLOCK.monotonic()
    assert server.ask("/api/v1/changes?wait=60", "HEAD").status == 200
    assert CLOCK.monotonic() - before < 30
