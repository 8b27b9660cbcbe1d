"""The whole tree in one answer, over HTTP."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from api import bootstrap
from api.limits import Limits
from eventlog.errors import LogUnavailableError
from eventlog.events import Moved
from projections.bootstrap import PAGE_ROWS, Bootstrap, Row
from tests.api.support import (
    DEADLINE_SECONDS,
    LOG_ID,
    STARTING,
    MemoryLog,
    Server,
    make_app,
    node_id,
    serving,
    state,
)

DIRECTORY = 0o040755


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def server(log: MemoryLog) -> Iterator[Server]:
    with serving(make_app(log)) as running:
        yield running


def lines(server: Server) -> list[dict[str, Any]]:
    answer = server.ask("/api/v1/snapshot")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.splitlines()]


def test_an_empty_tree_has_two_lines(server: Server) -> None:
    assert lines(server) == [
        {"log_id": LOG_ID, "cursor": 0},
        {"log_id": LOG_ID, "cursor": 0, "count": 0},
    ]


def test_each_line_is_a_change_of_the_feed(server: Server, log: MemoryLog) -> None:
    top = log.create(b"r", mode=DIRECTORY, target=b"/r")
    log.create(b"a\xff", top)
    log.remove(log.create(b"b", top))
    first, *found, last = lines(server)
    assert first == {"log_id": LOG_ID, "cursor": 4}
    assert last == {"log_id": LOG_ID, "cursor": 4, "count": 2}
    assert found == server.get("/api/v1/changes")["changes"]
    assert [line["node"]["id"] for line in found] == [node_id(1), node_id(2)]


def test_a_parent_comes_first_though_it_is_younger(server: Server, log: MemoryLog) -> None:
    child = log.create(b"a")
    parent = log.create(b"d", mode=DIRECTORY)
    log.append(Moved("", state(b"a", parent), 0, b"a"), child)
    found = [line["node"]["id"] for line in lines(server)[1:-1]]
    assert found == [node_id(parent), node_id(child)]


def test_a_tree_of_many_pages_comes_whole(server: Server, log: MemoryLog) -> None:
    for n in range(2 * PAGE_ROWS + 1):
        log.create(b"%d" % n)
    *_, last = found = lines(server)
    assert last["count"] == len(found) - 2 == 2 * PAGE_ROWS + 1


def test_a_head_says_what_would_come(server: Server, log: MemoryLog) -> None:
    log.create()
    answer = server.ask("/api/v1/snapshot", "HEAD")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert answer.body == b""
    assert server.ask("/api/v1/snapshot", "POST").status == 405


def test_it_waits_for_the_first_scan(log: MemoryLog) -> None:
    with serving(make_app(log, STARTING)) as server:
        answer = server.ask("/api/v1/snapshot")
    assert (answer.status, answer.json["error"]) == (503, "starting")
    assert answer.headers["retry-after"] == "2"


class SlowLog(MemoryLog):
    """Reads no page until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = threading.Event()

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        assert self.may.wait(DEADLINE_SECONDS)
        return super().bootstrap_page(walk)


def test_too_many_at_a_time_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "TOGETHER_MAX", 1)
    log = SlowLog()
    log.create()
    with serving(make_app(log)) as server:
        first = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        first.request("GET", "/api/v1/snapshot")
        response = first.getresponse()
        answer = server.ask("/api/v1/snapshot")
        assert (answer.status, answer.json["error"]) == (503, "too_many_snapshots")
        assert (answer.headers["retry-after"], answer.json["log_id"]) == ("10", LOG_ID)
        log.may.set()
        assert response.read().count(b"\n") == 3
        server.wait_until(lambda: server.ask("/api/v1/snapshot").status == 200)
        first.close()


class BrokenLog(MemoryLog):
    """Cannot read its second page."""

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        if walk._after:
            raise OSError("the disk is gone")
        return super().bootstrap_page(walk)


def test_an_answer_that_breaks_off_has_no_last_line() -> None:
    log = BrokenLog()
    for n in range(PAGE_ROWS + 1):
        log.create(b"%d" % n)
    with serving(make_app(log)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)
        connection.request("GET", "/api/v1/snapshot")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as error:
            response.read()
        assert b'"count"' not in error.value.partial
        connection.close()
        server.wait_until(lambda: server.ask("/api/v1/cursor").status == 200)


class UnreadableLog(BrokenLog):
    """Cannot be read any more, as a log says it."""

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        try:
            return super().bootstrap_page(walk)
        except OSError as error:
            raise LogUnavailableError(str(error)) from error


def test_a_log_that_cannot_be_read_is_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    log = UnreadableLog()
    for n in range(PAGE_ROWS + 1):
        log.create(b"%d" % n)
    with serving(make_app(log)) as server:
        with pytest.raises(http.client.IncompleteRead):
            server.ask("/api/v1/snapshot")
        server.wait_until(lambda: "cut off: the disk is gone" in caplog.text)
    assert not any(record.exc_info for record in caplog.records)


class SquashedLog(MemoryLog):
    """Is squashed while it is read."""

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        rows = super().bootstrap_page(walk)
        self.first = walk.position + 1
        return rows


def test_what_a_squash_overtook_has_no_last_line() -> None:
    log = SquashedLog()
    log.create()
    with serving(make_app(log)) as server:
        found = lines(server)
    assert [set(line) for line in found] == [{"log_id", "cursor"}, {"removed", "node"}]


class EndlessLog(MemoryLog):
    """Never comes to an end."""

    pages = 0

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        self.pages += 1
        rows = super().bootstrap_page(walk)
        walk.is_done = False
        walk._after = 0
        return rows


def test_a_client_that_stalls_holds_nothing_but_its_place_and_is_cut() -> None:
    log = EndlessLog()
    for n in range(200):
        log.create(b"%0200d" % n)
    with serving(make_app(log), Limits(receive_seconds=0.5)) as server:
        connection = server.connect()
        connection.sendall(b"GET /api/v1/snapshot HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert connection.recv(1) == b"H"
        seen = [-1, -2]

        def has_stopped() -> bool:
            seen.append(log.pages)
            return seen[-1] == seen[-2] == seen[-3] and not len(server.connections)

        server.wait_until(has_stopped)
        connection.close()
        assert log.pages < 1_000
