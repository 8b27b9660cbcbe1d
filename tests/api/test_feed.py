"""The feed's answers over HTTP."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from api.answers import Answer
from api.feed import Feed
from api.status import Readiness
from eventlog.epochs import Gap
from eventlog.errors import LogMissingError
from eventlog.events import Reason, Removed
from tests.api.support import (
    LOG_ID,
    STARTING,
    MemoryLog,
    Server,
    make_app,
    node_id,
    serving,
    state,
)

PATHS = ("/api/v1/cursor", "/api/v1/changes", "/api/v1/root", f"/api/v1/nodes/{node_id(1)}/path")
SUPER_ROOT = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def server(log: MemoryLog) -> Iterator[Server]:
    with serving(make_app(log)) as running:
        yield running


def test_the_cursor_is_the_head(server: Server, log: MemoryLog) -> None:
    assert server.get("/api/v1/cursor") == {"cursor": 0, "log_id": LOG_ID}
    log.create()
    answer = server.ask("/api/v1/cursor")
    assert answer.body == b'{"cursor":1,"log_id":"%b"}' % LOG_ID.encode()
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


def test_an_empty_log_gives_an_empty_page(server: Server) -> None:
    assert server.ask("/api/v1/changes").body == (
        b'{"cursor":0,"changes":[],"has_more":false,"log_id":"%b"}' % LOG_ID.encode()
    )


def test_pages_follow_each_other_to_the_head(server: Server, log: MemoryLog) -> None:
    for number in range(25):
        log.create(b"%d" % number)
    first = server.get("/api/v1/changes?max_size=10")
    assert (first["cursor"], first["has_more"], len(first["changes"])) == (10, True, 10)
    second = server.get("/api/v1/changes?cursor=10&max_size=15")
    assert (second["cursor"], second["has_more"]) == (25, False)
    assert [change["node"]["name"] for change in second["changes"]] == [
        str(number) for number in range(10, 25)
    ]


def test_a_page_holds_a_thousand_unless_more_is_asked(server: Server, log: MemoryLog) -> None:
    for _ in range(1001):
        log.create()
    assert len(server.get("/api/v1/changes")["changes"]) == 1000
    assert len(server.get("/api/v1/changes?max_size=zero")["changes"]) == 1000
    assert len(server.get("/api/v1/changes?max_size=99999")["changes"]) == 1001


def test_a_client_at_the_head_gets_nothing_and_then_what_is_new(
    server: Server, log: MemoryLog
) -> None:
    log.create()
    assert server.get("/api/v1/changes?cursor=1")["changes"] == []
    log.modify(1, size=9)
    page = server.get("/api/v1/changes?cursor=1")
    assert (page["cursor"], page["changes"][0]["node"]["size"]) == (2, 9)


@pytest.mark.parametrize("query", ["cursor=-1", "cursor=1.0", "cursor=1_0", "cursor=", "cursor=x"])
def test_a_malformed_cursor_is_refused(server: Server, query: str) -> None:
    answer = server.ask(f"/api/v1/changes?{query}")
    assert (answer.status, answer.json["error"]) == (400, "invalid_cursor")
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize("query", ["cursor=9223372036854775808", "cursor=0&cursor=0"])
def test_an_impossible_or_repeated_cursor_is_refused(server: Server, query: str) -> None:
    assert server.ask(f"/api/v1/changes?{query}").status == 400


def gone(server: Server, target: str, **headers: str) -> dict[str, Any]:
    answer = server.ask(target, **headers)
    assert answer.status == 410, answer
    found: dict[str, Any] = answer.json
    assert list(found)[-4:] == ["cursor", "changes", "has_more", "reset"]
    return found


def test_a_cursor_ahead_of_the_head_is_gone(server: Server, log: MemoryLog) -> None:
    log.create()
    assert server.ask("/api/v1/changes?cursor=2").body == (
        b'{"error":"cursor_ahead","log_id":"%b","earliest":0,"head":1,'
        b'"resync":"/api/v1/changes?cursor=0","cursor":0,"changes":[],"has_more":true,'
        b'"reset":true}' % LOG_ID.encode()
    )
    assert gone(server, f"/api/v1/changes?cursor={2**63 - 1}")["error"] == "cursor_ahead"


def test_a_cursor_from_a_commit_that_the_head_has_not_noticed_is_not_gone(
    server: Server, log: MemoryLog
) -> None:
    log.create()
    log.create()
    log.behind = 1
    assert server.get("/api/v1/changes?cursor=2")["cursor"] == 2


def test_a_page_read_while_the_floor_rises_is_not_served(server: Server, log: MemoryLog) -> None:
    """The request was let in under the old floor; in its page removals may be missing already."""
    for _ in range(9):
        log.create()
    log.first_of_page = 5
    for query in ("cursor=4", "cursor=4&kind=file"):
        assert gone(server, f"/api/v1/changes?{query}")["error"] == "cursor_expired"
    assert server.ask("/api/v1/changes?cursor=5&kind=file").status == 200
    assert server.ask("/api/v1/changes?cursor=5").status == 200
    assert server.ask("/api/v1/changes?cursor=0").status == 200


def test_a_cursor_below_the_floor_is_gone_but_zero_never(server: Server, log: MemoryLog) -> None:
    for _ in range(9):
        log.create()
    log.first = 5
    found = gone(server, "/api/v1/changes?cursor=4")
    assert (found["error"], found["earliest"], found["head"]) == ("cursor_expired", 5, 9)
    assert server.get("/api/v1/changes?cursor=5")["cursor"] == 9
    assert server.get("/api/v1/changes?cursor=0")["cursor"] == 9


@pytest.mark.parametrize("cursor", ["", "cursor=0&", "cursor=1&"])
def test_a_cursor_of_another_log_is_gone(server: Server, log: MemoryLog, cursor: str) -> None:
    log.create()
    assert gone(server, f"/api/v1/changes?{cursor}log_id=other")["error"] == "foreign_log"
    assert gone(server, f"/api/v1/changes?{cursor}log_id=")["error"] == "foreign_log"
    assert gone(server, f"/api/v1/changes?{cursor}", X_Log_Id="other")["error"] == "foreign_log"
    assert server.get(f"/api/v1/changes?{cursor}log_id={LOG_ID}", X_Log_Id=LOG_ID)["cursor"] == 1


def test_a_cursor_that_a_restore_left_in_a_gap_is_gone_without_a_log_id_too(
    server: Server, log: MemoryLog
) -> None:
    for _ in range(9):
        log.create()
    log.gaps.append(Gap(3, 7))
    for cursor in (4, 5, 6):
        assert gone(server, f"/api/v1/changes?cursor={cursor}")["error"] == "foreign_log"
    for cursor in (0, 1, 3, 7, 8, 9):
        assert server.get(f"/api/v1/changes?cursor={cursor}")["cursor"] == 9


def seed_client(server: Server, cursor: str) -> tuple[str, dict[str, str]]:
    """Fold the feed as the seed's real client does: it never looks at the status."""
    names: dict[str, str] = {}
    while True:
        data = server.ask(f"/api/v1/changes?cursor={cursor}").json
        for change in data["changes"]:
            if change["removed"]:
                names.pop(change["node_id"], None)
            else:
                names[change["node"]["id"]] = change["node"]["name"]
        cursor = str(data["cursor"])
        if not data.get("has_more"):
            return cursor, names


@pytest.mark.parametrize("cursor", ["0", "3", "4000", "9223372036854775807"])
def test_the_seed_client_heals_itself_from_any_cursor(
    server: Server, log: MemoryLog, cursor: str
) -> None:
    for number in range(1250):
        log.create(b"%d" % number)
    for number in range(1250):
        log.modify(number + 1, name=b"%d" % number)
    log.first = 1251  # a squash re-appends every live node above the new floor
    assert seed_client(server, cursor) == (
        "2500", {node_id(number + 1): str(number) for number in range(1250)}
    )  # fmt: skip


def test_a_removal_is_told_to_who_knew_the_node(server: Server, log: MemoryLog) -> None:
    log.create(b"kept")
    gone_node = log.create(b"gone")
    log.append(Removed("", Reason.MOVED_OUT, 0, b"gone", 0o100644), gone_node)
    (change,) = server.get("/api/v1/changes?cursor=2")["changes"]
    assert (change["removed"], change["node_id"], change["reason"]) == (
        True, node_id(2), "moved_out"
    )  # fmt: skip
    assert len(server.get("/api/v1/changes?cursor=0")["changes"]) == 1


def test_the_root_is_the_seeds(server: Server) -> None:
    root = server.get("/api/v1/root")
    assert list(root)[:14] == [
        "id", "parent_id", "name", "is_directory", "ctime", "mtime", "mime_type", "hash", "size",
        "is_image", "is_video", "width", "height", "ms_duration",
    ]  # fmt: skip
    assert (root["id"], root["parent_id"], root["name"]) == (SUPER_ROOT, None, "")
    assert root["log_id"] == LOG_ID


def test_a_node_has_a_path(server: Server, log: MemoryLog) -> None:
    log.paths[3] = "/mnt/media/grün".encode()
    assert server.get(f"/api/v1/nodes/{node_id(3)}/path") == {
        "path": "/mnt/media/grün", "log_id": LOG_ID
    }  # fmt: skip
    assert server.ask(f"/api/v1/nodes/{node_id(3).upper()}/path").status == 200


def test_a_path_that_is_not_utf8_comes_raw_as_well(server: Server, log: MemoryLog) -> None:
    log.paths[3] = b"/mnt/\xff"
    assert server.get(f"/api/v1/nodes/{node_id(3)}/path") == {
        "path": "/mnt/\N{REPLACEMENT CHARACTER}", "log_id": LOG_ID, "path_raw": "L21udC//"
    }  # fmt: skip


@pytest.mark.parametrize(
    "given_id",
    [node_id(9), node_id(9)[:-1], node_id(9) + "0", "x", "..", "%00", "%ff", "9" * 36, "x" * 5000],
)
def test_an_unknown_node_is_not_found(server: Server, given_id: str) -> None:
    answer = server.ask(f"/api/v1/nodes/{given_id}/path")
    assert (answer.status, list(answer.json)) == (404, ["error", "detail", "log_id"])


def test_the_super_root_has_no_path(server: Server) -> None:
    answer = server.ask(f"/api/v1/nodes/{SUPER_ROOT}/path")
    assert (answer.status, answer.json["detail"]) == (400, "no path for super-root")


@pytest.mark.parametrize("path", ["/", "/api/v1", "/api/v1/x", "/api/v1/nodes//path", "/%2e%2e/x"])
def test_elsewhere_there_is_nothing(server: Server, path: str) -> None:
    answer = server.ask(path)
    assert (answer.status, list(answer.json)) == (404, ["error", "detail", "log_id"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", [*PATHS, "/api/v1/status"])
def test_another_method_is_refused(server: Server, method: str, path: str) -> None:
    answer = server.ask(path, method)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (list(answer.json), answer.json["log_id"]) == (["error", "detail", "log_id"], LOG_ID)


@pytest.mark.parametrize("path", [*PATHS, "/api/v1/status", "/nowhere", "/schema/openapi.json"])
def test_head_is_get_without_the_body(server: Server, log: MemoryLog, path: str) -> None:
    log.paths[1] = b"/x"
    get, head = server.ask(path), server.ask(path, "HEAD")
    assert head.body == b""
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert head.status == get.status


@pytest.mark.parametrize("path", PATHS)
def test_before_the_first_scan_is_complete_the_feed_says_so(path: str) -> None:
    with serving(make_app(MemoryLog(), STARTING)) as server:
        answer = server.ask(path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "2")
        assert answer.json == {
            "error": "starting",
            "detail": "the first scan of the roots is not complete yet",
            "log_id": LOG_ID,
            "progress": {"entries": 7, "directories": 2, "seconds": 1.5},
        }
        assert server.ask(f"{path}?").status == 503


def test_the_status_is_always_told() -> None:
    with serving(make_app(MemoryLog(), STARTING)) as server:
        status = server.get("/api/v1/status")
        assert (status["version"], status["log_id"]) == ("1.2.3", LOG_ID)


def test_the_short_way_says_what_the_long_way_says(server: Server, log: MemoryLog) -> None:
    log.create()
    log.paths[1] = b"/x"
    for path in ("/api/v1/cursor", f"/api/v1/nodes/{node_id(1)}/path"):
        assert server.ask(path).body == server.ask(f"{path}?long").body
    short = server.ask("/api/v1/changes?cursor=1")
    assert short.body == server.ask("/api/v1/changes?long&cursor=1").body
    assert short.headers.keys() == server.ask("/api/v1/changes?long&cursor=1").headers.keys()


class _BrokenLog(MemoryLog):
    def path(self, number: int) -> bytes | None:
        raise OSError(f"cannot read {number}")


@pytest.mark.parametrize("query", ["", "?long"])
def test_a_failure_is_told_without_details_and_the_server_goes_on(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(make_app(_BrokenLog())) as server:
        answer = server.ask(f"/api/v1/nodes/{node_id(1)}/path{query}")
        assert (answer.status, answer.json["error"]) == (500, "internal")
        assert b"cannot read" not in answer.body
        assert "cannot read 1" in caplog.text
        assert server.ask("/api/v1/cursor").status == 200


class _AbsentLog(MemoryLog):
    def path(self, number: int) -> bytes | None:
        raise LogMissingError(f"/absent/log{number}.db")


@pytest.mark.parametrize("query", ["", "?long"])
def test_a_log_that_cannot_be_read_now_is_no_failure_of_the_server(
    query: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its disk may come back; the client does too."""
    with serving(make_app(_AbsentLog())) as server:
        answer = server.ask(f"/api/v1/nodes/{node_id(1)}/path{query}")
        assert (answer.status, answer.json["error"]) == (503, "log_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert b"/absent" not in answer.body
        assert "/absent/log1.db: no nasfeed database here" in caplog.text
        assert "Traceback" not in caplog.text


def test_state_of_a_node_survives_json(server: Server, log: MemoryLog) -> None:
    log.append(log.events[log.create(b'"\\\n') - 1][2])
    assert state(b'"\\\n').name.decode() == json.loads(
        server.ask("/api/v1/changes").body
    )["changes"][0]["node"]["name"]  # fmt: skip


def test_a_request_that_comes_while_the_server_stops_is_told_to_come_again() -> None:
    log = MemoryLog()
    feed = Feed(log, lambda: Readiness(ready=True))
    feed.close()
    answer = asyncio.run(feed.changes(b"cursor=0"))
    assert isinstance(answer, Answer)
    assert answer.status == 503
    assert json.loads(answer.body)["error"] == "stopping"
    assert ("retry-after", "2") in answer.headers
