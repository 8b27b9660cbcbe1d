"""Filters over HTTP: parameters, pages, long pages, polls and streams."""

import json
import stat
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import api.filtered
from eventlog.events import Described, Moved, Reason, Removed
from projections import filtered
from tests.api.events import StreamClient
from tests.api.support import LOG_ID, STARTING, MemoryLog, Server, make_app, node_id, serving, state
from tests.api.test_longpoll import Poll, sleepers

DIRECTORY = stat.S_IFDIR | 0o755
CHANGES = "/api/v1/changes"


def plant() -> MemoryLog:
    """Make a root `a` (1) with directories 3 and 4, a root `b` (2), and files in 3, 4 and 2."""
    log = MemoryLog()
    log.create(b"a", mode=DIRECTORY)
    log.create(b"b", mode=DIRECTORY)
    log.create(b"in", 1, mode=DIRECTORY)
    log.create(b"out", 1, mode=DIRECTORY)
    for parent in (3, 4, 2):
        log.create(b"file", parent, mime="image/png")
    return log


def move(log: MemoryLog, node: int, parent: int, name: bytes, **changed: object) -> int:
    return log.append(Moved("", state(name, parent, **changed), 0, name), node)


@pytest.fixture
def log() -> MemoryLog:
    return plant()


@pytest.fixture
def server(log: MemoryLog) -> Iterator[Server]:
    with serving(make_app(log)) as running:
        yield running


def fold(nodes: dict[str, Any], changes: list[dict[str, Any]]) -> None:
    for change in changes:
        if change["removed"]:
            nodes.pop(change["node_id"], None)
        else:
            nodes[change["node"]["id"]] = change["node"]


def numbers(nodes: dict[str, Any]) -> set[int]:
    return {int(each[-12:], 16) for each in nodes}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("root=a", {1, 3, 4, 5, 6}),
        ("root=b", {2, 7}),
        (f"under={node_id(3)}", {3, 5}),
        (f"under={node_id(0)}", {1, 2, 3, 4, 5, 6, 7}),
        (f"under={node_id(3)}&root=b", set()),
        ("mime=image/", {5, 6, 7}),
        ("mime=image/&root=b", {7}),
        ("mime=text/", set()),
        ("mime=text/&mime=image/p", {5, 6, 7}),
        ("kind=directory", {1, 2, 3, 4}),
        ("kind=directory&kind=file&root=b", {2, 7}),
        ("kind=symlink", set()),
    ],
)
def test_only_what_matches_is_told(server: Server, query: str, expected: set[int]) -> None:
    page = server.get(f"{CHANGES}?{query}")
    nodes: dict[str, Any] = {}
    fold(nodes, page["changes"])
    assert numbers(nodes) == expected
    assert (page["cursor"], page["has_more"], page["since"]) == (7, False, 7)
    assert server.get(f"{CHANGES}?{query}&cursor=7&since=7")["changes"] == []


def test_without_a_filter_there_is_no_since(server: Server) -> None:
    assert "since" not in server.get(CHANGES)
    assert "since" not in server.get(f"{CHANGES}?since=3")


@pytest.mark.parametrize(
    "query",
    [
        "kind=folder", "kind=", "mime=", "root=", "root=a&root=b", "under=",
        f"under={node_id(1)}&under={node_id(1)}",
    ],
)  # fmt: skip
def test_a_filter_that_is_none_is_refused(server: Server, query: str) -> None:
    answer = server.ask(f"{CHANGES}?{query}")
    assert (answer.status, answer.json["error"]) == (400, "invalid_filter")


@pytest.mark.parametrize(
    "query", ["root=c", "under=x", f"under={node_id(99)}", "under=11111111-" + node_id(1)[9:]]
)
@pytest.mark.parametrize("path", [CHANGES, f"{CHANGES}/stream"])
def test_a_place_that_there_is_not_is_refused(server: Server, path: str, query: str) -> None:
    answer = server.ask(f"{path}?{query}")
    assert (answer.status, answer.json["error"]) == (404, "unknown_filter")


def test_a_malformed_since_is_refused(server: Server) -> None:
    assert server.ask(f"{CHANGES}?root=a&since=-1").status == 400


def test_a_root_that_is_gone_is_told_to_who_goes_on(server: Server, log: MemoryLog) -> None:
    log.remove(7, b"file", 2)
    log.append(Removed("", Reason.ROOT_REMOVED, 0, b"b", DIRECTORY), 2)
    page = server.get(f"{CHANGES}?root=b&cursor=7&since=7")
    assert [change["node_id"] for change in page["changes"]] == [node_id(7), node_id(2)]
    assert server.ask(f"{CHANGES}?root=b").status == 404


def test_what_leaves_is_removed_with_its_reason(server: Server, log: MemoryLog) -> None:
    log.append(Described("", state(b"file", 3, mime="text/plain")), 5)
    (change,) = server.get(f"{CHANGES}?mime=image/&cursor=7&since=7")["changes"]
    assert change == {
        "removed": True, "node_id": node_id(5), "reason": "left_filter", "parent_id": node_id(3),
        "name": "file", "is_directory": False, "left_filter": True,
    }  # fmt: skip


def test_a_directory_that_moves_takes_what_is_below_with_it(server: Server, log: MemoryLog) -> None:
    move(log, 3, 4, b"in", mode=DIRECTORY)
    entered = server.get(f"{CHANGES}?under={node_id(4)}&cursor=7&since=7")["changes"]
    assert [change["node"]["id"] for change in entered] == [node_id(3), node_id(5)]
    move(log, 3, 2, b"in", mode=DIRECTORY)
    left = server.get(f"{CHANGES}?under={node_id(4)}&cursor=8&since=8")["changes"]
    assert [(change["node_id"], change["left_filter"]) for change in left] == [
        (node_id(3), True), (node_id(5), True)
    ]  # fmt: skip


def test_other_changes_move_the_cursor(server: Server, log: MemoryLog) -> None:
    for _ in range(5):
        log.create(b"new", 2)
    page = server.get(f"{CHANGES}?root=a&cursor=7&since=7")
    assert (page["cursor"], page["changes"], page["since"]) == (12, [], 12)


@pytest.fixture
def crowded(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """Have 25 more files in the directory 3, and pages that are long with less."""
    monkeypatch.setattr(filtered, "INLINE_MAX", 5)
    monkeypatch.setattr(api.filtered, "PART", 4)
    for number in range(25):
        log.create(b"%d" % number, 3)
    move(log, 3, 4, b"in", mode=DIRECTORY)
    return log


def test_a_long_page_is_a_page(server: Server, crowded: MemoryLog) -> None:
    assert crowded.head() == 33
    answer = server.ask(f"{CHANGES}?under={node_id(4)}&cursor=32&since=32")
    assert (answer.status, answer.headers["content-type"]) == (
        200, "application/json; charset=utf-8"
    )  # fmt: skip
    assert "content-length" not in answer.headers
    page = answer.json
    nodes: dict[str, Any] = {}
    fold(nodes, page["changes"])
    assert numbers(nodes) == {3, 5, *range(8, 33)}
    assert (page["cursor"], page["has_more"], page["since"]) == (33, False, 33)
    assert list(page) == ["cursor", "changes", "has_more", "log_id", "since"]


@pytest.mark.usefixtures("crowded")
def test_a_long_page_without_rows_of_its_own_is_a_page(server: Server) -> None:
    query = f"under={node_id(4)}&cursor=32&since=32&kind=file"
    page = server.get(f"{CHANGES}?{query}")
    assert len(page["changes"]) == 26


def test_a_stream_sends_a_long_page_in_pieces(server: Server, crowded: MemoryLog) -> None:
    nodes: dict[str, Any] = {}
    query = f"under={node_id(4)}&cursor=32&since=32"
    with StreamClient(server, f"{CHANGES}/stream?{query}") as client:
        *pieces, _ = client.events_until("caught_up")
        crowded.create(b"later", 4)
        pieces.append(client.event())
    assert [piece.id for piece in pieces] == ["32"] * 7 + ["33", "34"]
    for piece in pieces:
        assert piece.data["cursor"] == int(piece.id)
        fold(nodes, piece.data["changes"])
    assert numbers(nodes) == {3, 5, *range(8, 33), 34}


def test_a_stream_tells_only_what_matches(server: Server, log: MemoryLog) -> None:
    with StreamClient(server, f"{CHANGES}/stream?root=b&kind=file") as client:
        history, _ = client.events_until("caught_up")
        assert [change["node"]["id"] for change in history.data["changes"]] == [node_id(7)]
        log.create(b"elsewhere", 4)
        log.create(b"here", 2)
        event = client.event()
        assert [change["node"]["id"] for change in event.data["changes"]] == [node_id(9)]


def test_a_poll_waits_for_what_matches(server: Server, log: MemoryLog) -> None:
    poll = Poll(server, "root=b&cursor=7&since=7&wait=60")
    server.wait_until(lambda: sleepers(server) == 1)
    log.create(b"elsewhere", 4)
    assert poll.is_alive()
    log.create(b"here", 2)
    page = poll.answered().json
    assert [change["node"]["id"] for change in page["changes"]] == [node_id(9)]
    assert page["since"] == 9


def test_a_poll_goes_on_through_what_does_not_match(
    server: Server, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "SCANNED_MAX", 3)
    for _ in range(20):
        log.create(b"elsewhere", 4)
    log.create(b"here", 2)
    page = server.get(f"{CHANGES}?root=b&cursor=7&since=7&wait=30")
    assert [change["node"]["id"] for change in page["changes"]] == [node_id(28)]


def test_a_snapshot_has_only_what_matches(server: Server, log: MemoryLog) -> None:
    answer = server.ask(f"/api/v1/snapshot?under={node_id(3)}&kind=file")
    begin, *changes, end = map(json.loads, answer.body.splitlines())
    assert begin == {"log_id": LOG_ID, "cursor": 7, "since": 7}
    assert [change["node"]["id"] for change in changes] == [node_id(5)]
    assert (end["cursor"], end["count"]) == (7, 1)
    move(log, 3, 2, b"in", mode=DIRECTORY)
    page = server.get(f"{CHANGES}?under={node_id(4)}&cursor=7&since=7")
    assert page["changes"] == []


def test_a_snapshot_without_a_filter_has_no_since(server: Server) -> None:
    begin = json.loads(server.ask("/api/v1/snapshot").body.splitlines()[0])
    assert begin == {"log_id": LOG_ID, "cursor": 7}


def test_a_snapshot_of_what_there_is_not_is_refused(server: Server) -> None:
    assert server.ask("/api/v1/snapshot?root=c").status == 404
    assert server.ask("/api/v1/snapshot?kind=c").status == 400


def test_a_cursor_that_cannot_be_honoured_is_gone_with_a_filter_too(
    server: Server, log: MemoryLog
) -> None:
    assert server.ask(f"{CHANGES}?root=a&cursor=99").status == 410
    log.first = 5
    assert server.ask(f"{CHANGES}?root=a&cursor=4").status == 410


def test_before_the_first_scan_there_is_no_filter_to_check() -> None:
    with serving(make_app(MemoryLog(), STARTING)) as server:
        assert server.ask(f"{CHANGES}?root=nowhere").status == 503


def test_who_only_folds_ends_with_what_matches_while_things_happen(
    server: Server, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtered, "INLINE_MAX", 2)
    monkeypatch.setattr(api.filtered, "PART", 2)
    query = f"under={node_id(4)}"

    def churn() -> None:
        for number in range(40):
            created = log.create(b"%d" % number, 3)
            move(log, 3, 4 if number % 2 else 2, b"in", mode=DIRECTORY)
            log.append(Described("", state(b"%d" % number, 3, mime="text/plain")), created)

    nodes: dict[str, Any] = {}
    churning = threading.Thread(target=churn)
    with StreamClient(server, f"{CHANGES}/stream?{query}&max_size=3") as client:
        churning.start()
        event = client.event()
        while not (event.data["cursor"] == 127 and event.name != "changes"):
            fold(nodes, event.data.get("changes", []))
            event = client.event()
            if not churning.is_alive() and event.data["cursor"] == 127:
                fold(nodes, event.data.get("changes", []))
                break
    churning.join()
    fresh: dict[str, Any] = {}
    fold(fresh, server.get(f"{CHANGES}?{query}")["changes"])
    assert nodes == fresh
    assert len(nodes) == 44
