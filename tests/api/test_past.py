"""Nodes, children and histories over the real log."""

import base64
import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import Dependencies, create_app
from api.asgi import QuickApplication
from eventlog.connection import open_reader
from eventlog.events import (
    Content,
    Created,
    Described,
    Event,
    Modified,
    Moved,
    Reason,
    Removed,
)
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from projections.snapshot_file import SnapshotFile
from projections.snapshot_store import SnapshotStore
from tests.api.support import READY, STARTING, MemoryLog, Server, serving, state, status_of
from tests.tools.sample import DAY_US, START_US, StepClock
from tools.feed_reader import FeedReader

DIRECTORY = stat.S_IFDIR | 0o755
SUPER_ROOT = "00000000-0000-0000-0000-000000000000"
HISTORY: list[tuple[int, Event]] = [
    (0, Created("", state(b"media", 0, mode=DIRECTORY, target=b"/mnt/media"))),  # 1
    (0, Created("", state(b"old", 1, mode=DIRECTORY))),  # 2
    (0, Created("", state(b"b", 2))),  # 3
    (0, Created("smb:anna", state(b"a", 2))),  # 4
    (2, Moved("smb:anna", state(b"new", 1, mode=DIRECTORY), 1, b"old")),  # 5
    (4, Moved("", state(b"c\xff", 1), 2, b"a")),  # 6
    (3, Described("", state(b"b", 2, content=Content.FAILED), "it cannot be read")),  # 7
    (3, Removed("", Reason.DELETED, 2, b"b", stat.S_IFREG | 0o644)),  # 8
    (2, Removed("", Reason.MOVED_OUT, 1, b"new", DIRECTORY)),  # 9
    (0, Created("", state(b"+ %", 1))),  # 10
    (4, Modified("", state(b"c\xff", 1, size=9))),  # 11
]


def iso(position: int, seconds: int = 0) -> str:
    """Return the time of a position as RFC 3339: one event a day."""
    day = 3 + position
    return f"2026-03-{day:02d}T12:00:{seconds:02d}Z"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    path = tmp_path_factory.mktemp("past") / "feed.db"
    opened = Log(str(path), FOLDS, clock=StepClock())
    for node, event in HISTORY:
        opened.append([Draft(node, event)])
    yield opened
    opened.close()


def app_of(log: Log, *, ready: bool = True, store: SnapshotStore | None = None) -> QuickApplication:
    memory = MemoryLog(log.log_id)
    readiness = READY if ready else STARTING
    return create_app(
        Dependencies(FeedReader(log, store), lambda: readiness, lambda: status_of(memory), "1")
    )


@pytest.fixture(scope="module")
def server(log: Log) -> Iterator[Server]:
    with serving(app_of(log)) as running:
        yield running


class Asking:
    """Asks for nodes by their numbers."""

    def __init__(self, log: Log, server: Server) -> None:
        self._log = log
        self._server = server

    def id(self, number: int) -> str:
        return self._log.ids.to_id(number)

    def url(self, number: int, rest: str = "") -> str:
        return f"/api/v1/nodes/{self.id(number)}{rest}"

    def node(self, number: int, rest: str = "") -> dict[str, Any]:
        found: dict[str, Any] = self._server.get(self.url(number, rest))
        return found

    def names(self, number: int, at: object = None) -> list[str]:
        rest = "/children" if at is None else f"/children?at={at}"
        return [child["name"] for child in self.node(number, rest)["children"]]


@pytest.fixture(scope="module")
def ask(log: Log, server: Server) -> Asking:
    return Asking(log, server)


def test_a_node_is_shown_as_in_the_feed_with_its_path_and_last_change(
    ask: Asking, server: Server, log: Log
) -> None:
    changes = server.get("/api/v1/changes?cursor=0")["changes"]
    answer = ask.node(4)
    assert answer == {
        "removed": False,
        "node": next(c["node"] for c in changes if c["node"]["id"] == ask.id(4)),
        "position": 11,
        "exact": True,
        "changed": 11,
        "time": "2026-03-14T12:00:00+00:00",
        "log_id": log.log_id,
        "path": "/mnt/media/c\ufffd",
        "path_raw": base64.b64encode(b"/mnt/media/c\xff").decode(),
    }


def test_a_tombstone_says_what_was_where_until_when_and_why(ask: Asking, log: Log) -> None:
    assert ask.node(3) == {
        "removed": True,
        "node_id": ask.id(3),
        "reason": "deleted",
        "parent_id": ask.id(2),
        "name": "b",
        "is_directory": False,
        "position": 11,
        "exact": True,
        "changed": 8,
        "time": "2026-03-11T12:00:00+00:00",
        "log_id": log.log_id,
        "path": "/mnt/media/new/b",
    }
    assert (ask.node(2)["reason"], ask.node(2)["path"]) == ("moved_out", "/mnt/media/new")


@pytest.mark.parametrize(
    ("number", "at", "path"),
    [
        (4, "4", "/mnt/media/old/a"),
        (4, "5", "/mnt/media/new/a"),
        (4, "6", "/mnt/media/c\ufffd"),
        (4, iso(6), "/mnt/media/new/a"),
        (4, iso(6, 1), "/mnt/media/c\ufffd"),
        (3, "7", "/mnt/media/new/b"),
        (3, "4", "/mnt/media/old/b"),
        (2, "2", "/mnt/media/old"),
    ],
)
def test_a_node_is_shown_as_it_was(ask: Asking, number: int, at: str, path: str) -> None:
    answer = ask.node(number, f"?at={at}")
    assert (answer["removed"], answer["path"]) == (False, path)


def test_the_super_root_was_always_there(ask: Asking) -> None:
    for rest in ("", "?at=0", "?at=3"):
        answer = ask.node(0, rest)
        assert answer["node"]["id"] == SUPER_ROOT
        assert answer["node"]["parent_id"] is None
        assert "path" not in answer
    assert ask.names(0) == ["media"]
    assert ask.names(0, 0) == []


@pytest.mark.parametrize(
    ("at", "media", "old"),
    [
        (1, [], None),
        (3, ["old"], ["b"]),
        (4, ["old"], ["a", "b"]),
        (5, ["new"], ["a", "b"]),
        (6, ["c\ufffd", "new"], ["b"]),
        (8, ["c\ufffd", "new"], []),
        (9, ["c\ufffd"], None),
        (10, ["+ %", "c\ufffd"], None),
        (iso(4, 1), ["old"], ["a", "b"]),
        ("2026-03-07T13:00:00%2B01:00", ["old"], ["b"]),
        ("2026-03-07T13:00:00.1+01:00", ["old"], ["a", "b"]),
        ("2099-01-01T00:00:00Z", ["+ %", "c\ufffd"], None),
    ],
)
def test_a_directory_shows_what_was_in_it(
    ask: Asking, server: Server, at: object, media: list[str], old: list[str] | None
) -> None:
    assert ask.names(1, at) == media
    if old is None:
        assert server.ask(ask.url(2, f"/children?at={at}")).status == 404
    else:
        assert ask.names(2, at) == old


@pytest.mark.parametrize("at", ["", "?at=4", "?at=6", "?at=10", f"?at={iso(10, 1)}"])
def test_pages_hold_each_child_once(ask: Asking, at: str) -> None:
    for number in (0, 1):
        whole = ask.node(number, f"/children{at}")["children"]
        found, after = [], ""
        while True:
            joint = "&" if at else "?"
            page = ask.node(number, f"/children{at}{joint}max_size=1&after={after}")
            found += page["children"]
            if not page["has_more"]:
                assert page["after"] is None
                break
            assert len(page["children"]) == 1
            after = page["after"]
        assert found == whole


def test_a_page_goes_on_where_the_last_one_ended_though_that_child_is_gone(tmp_path: Path) -> None:
    with_log = Log(f"{tmp_path}/log.db", FOLDS)
    with_log.append([Draft(0, Created("", state(b"r", 0, mode=DIRECTORY, target=b"/r")))])
    with_log.append([Draft(0, Created("", state(name, 1))) for name in (b"a", b"b", b"c")])
    with serving(app_of(with_log)) as server:
        url = f"/api/v1/nodes/{with_log.ids.to_id(1)}/children?max_size=2"
        first = server.get(url)
        with_log.append([Draft(3, Removed("", Reason.DELETED, 1, b"b", stat.S_IFREG))])
        with_log.append([Draft(0, Created("", state(b"bb", 1)))])
        second = server.get(f"{url}&after={first['after']}")
    with_log.close()
    assert [child["name"] for child in second["children"]] == ["bb", "c"]


def test_the_history_of_a_node_says_who_did_what_and_from_where(ask: Asking) -> None:
    answer = ask.node(4, "/history")
    events = answer["events"]
    assert [e["event"] for e in events] == ["created", "moved", "modified"]
    assert [e["author"] for e in events] == ["smb:anna", "", ""]
    assert events[0]["time"] == "2026-03-07T12:00:00+00:00"
    assert events[0]["node"]["name"] == "a"
    moved = {key: value for key, value in events[1].items() if key != "node"}
    assert moved == {
        "position": 6,
        "time": "2026-03-09T12:00:00+00:00",
        "event": "moved",
        "author": "",
        "path": "/mnt/media/c\ufffd",
        "path_raw": base64.b64encode(b"/mnt/media/c\xff").decode(),
        "from_parent_id": ask.id(2),
        "from_name": "a",
        "from_path": "/mnt/media/new/a",
    }
    assert (answer["after"], answer["has_more"], answer["earliest"]) == (11, False, 0)


def test_the_history_of_a_node_goes_on_to_its_end(ask: Asking) -> None:
    events = ask.node(3, "/history")["events"]
    assert [e["event"] for e in events] == ["created", "described", "removed"]
    assert events[1]["problem"] == "it cannot be read"
    assert events[2]["removal"]["reason"] == "deleted"
    assert events[2]["path"] == "/mnt/media/new/b"
    assert ask.node(2, "/history")["events"][1]["from_path"] == "/mnt/media/old"


def test_a_history_comes_in_pages(ask: Asking) -> None:
    page = ask.node(4, "/history?max_size=2")
    assert ([e["position"] for e in page["events"]], page["has_more"]) == ([4, 6], True)
    page = ask.node(4, f"/history?max_size=2&after={page['after']}")
    assert ([e["position"] for e in page["events"]], page["has_more"]) == ([11], False)
    page = ask.node(4, f"/history?max_size=2&after={page['after']}")
    assert (page["events"], page["after"]) == ([], 11)


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("path=/mnt/media", 1),
        ("path=/mnt/media/", 1),
        ("path=%2Fmnt%2Fmedia%2Fc%FF", 4),
        ("path_raw=L21udC9tZWRpYS9j/w==", 4),
        ("path_raw=L21udC9tZWRpYS9j_w", 4),
        ("path=/mnt/media/%2B%20%25", 10),
        ("path=/mnt/media/%2B+%25", 10),
        ("path=/mnt/media/old/a&at=4", 4),
        ("path=/mnt/media/new/a&at=5", 4),
        (f"path=/mnt/media/new/b&at={iso(8)}", 3),
    ],
)
def test_a_path_leads_to_its_node(ask: Asking, server: Server, query: str, number: int) -> None:
    answer = server.get(f"/api/v1/nodes/by-path?{query}")
    assert answer["node"]["id"] == ask.id(number)


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("path=/mnt/media/old/a", 404, "not_found"),
        ("path=/mnt/media/new/a&at=4", 404, "not_found"),
        ("path=/mnt/media/%2b", 404, "not_found"),
        ("path=/", 404, "not_found"),
        ("path=/mnt/media/a%00b", 404, "not_found"),
        ("path=mnt", 400, "invalid_path"),
        ("path=", 400, "invalid_path"),
        ("", 400, "invalid_path"),
        ("path=/a&path=/b", 400, "invalid_path"),
        ("path=/a&path_raw=Lw==", 400, "invalid_path"),
        ("path_raw=L", 400, "invalid_path"),
        ("path_raw=%ff", 400, "invalid_path"),
        ("path=/mnt/media&at=12", 410, "position_ahead"),
    ],
)
def test_a_path_that_leads_nowhere(server: Server, query: str, status: int, error: str) -> None:
    answer = server.ask(f"/api/v1/nodes/by-path?{query}")
    assert (answer.status, answer.json["error"]) == (status, error)


@pytest.mark.parametrize(
    ("number", "rest", "status", "error"),
    [
        (12, "", 404, "not_found"),
        (4, "?at=3", 404, "not_found"),
        (12, "/children", 404, "not_found"),
        (12, "/history", 404, "not_found"),
        (0, "/history", 404, "not_found"),
        (2, "/children", 404, "removed"),
        (4, "/children", 400, "not_a_directory"),
        (1, "/children?after=!", 400, "invalid_after"),
        (1, "/children?after=MTph&after=MTph", 400, "invalid_after"),
        (1, "/children?after=YWJj", 400, "invalid_after"),
        (1, "/history?after=x", 400, "invalid_after"),
        (1, "/history?after=-1", 400, "invalid_after"),
        (1, "?at=yesterday", 400, "invalid_at"),
        (1, "?at=", 400, "invalid_at"),
        (1, "?at=-1", 400, "invalid_at"),
        (1, "?at=01", 400, "invalid_at"),
        (1, "?at=9223372036854775808", 400, "invalid_at"),
        (1, "?at=2026-03-04T12:00:00", 400, "invalid_at"),
        (1, "?at=2026-13-04T12:00:00Z", 400, "invalid_at"),
        (1, "?at=1&at=2", 400, "invalid_at"),
        (1, "?at=9223372036854775807", 410, "position_ahead"),
        (1, "/children?at=12", 410, "position_ahead"),
    ],
)
def test_what_cannot_be_answered_is_said(
    ask: Asking, server: Server, number: int, rest: str, status: int, error: str
) -> None:
    answer = server.ask(ask.url(number, rest))
    assert (answer.status, answer.json["error"]) == (status, error)
    assert answer.json["log_id"] == server.get("/api/v1/cursor")["log_id"]


@pytest.mark.parametrize("node_id", ["x", "%00", "9" * 36, "by-paths", "%2e%2e"])
def test_what_is_no_id_is_not_found(server: Server, node_id: str) -> None:
    for rest in ("", "/children", "/history"):
        assert server.ask(f"/api/v1/nodes/{node_id}{rest}").status == 404


@pytest.mark.parametrize(
    ("time", "position"),
    [
        (iso(1), 0),
        (iso(1, 1), 1),
        (iso(5), 4),
        ("2026-03-08T12:00:00.000001Z", 5),
        ("2026-03-08T12:00:00.0000001Z", 5),
        ("2026-03-08T12:00:00.0000000Z", 4),
        ("2026-03-08t14:00:00%2b02:00", 4),
        ("2026-03-08 11:59:60Z", 4),
        ("2026-03-08T12:00:60Z", 5),
        ("0001-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", 11),
    ],
)
def test_a_time_becomes_the_last_cursor_before_it(
    server: Server, log: Log, time: str, position: int
) -> None:
    answer = server.get(f"/api/v1/cursor?at={time.replace(' ', '%20')}")
    assert answer == {"cursor": position, "log_id": log.log_id}


@pytest.mark.parametrize("at", ["", "7", "x", "2026-03-08", "0000-01-01T00:00:00Z"])
def test_what_is_no_time_has_no_cursor(server: Server, at: str) -> None:
    answer = server.ask(f"/api/v1/cursor?at={at}")
    assert (answer.status, answer.json["error"]) == (400, "invalid_at")


def test_a_head_has_no_body(ask: Asking, server: Server) -> None:
    for url in (ask.url(1), ask.url(1, "/children?at=4"), ask.url(1, "/history")):
        answer = server.ask(url, "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) == len(server.ask(url).body)


def test_below_what_is_left_the_earliest_is_named(tmp_path: Path) -> None:
    log = Log(f"{tmp_path}/log.db", FOLDS, clock=StepClock())
    for node, event in HISTORY:
        log.append([Draft(node, event)])
    log.call(lambda tx: tx.set_meta("merged", "5"))
    with serving(app_of(log)) as server:
        asking = Asking(log, server)
        for at in ("4", "1", iso(5), "1999-01-01T00:00:00Z"):
            answer = server.ask(asking.url(1, f"/children?at={at}"))
            assert answer.status == 410
            assert answer.json == {
                "error": "before_history",
                "detail": "what can be shown begins at position 5"
                " (2026-03-08T12:00:00.000001+00:00)",
                "log_id": log.log_id,
                "earliest": 5,
                "earliest_time": "2026-03-08T12:00:00.000001+00:00",
                "head": 11,
            }
            following = answer.json["earliest_time"].replace("+", "%2B")
            assert server.ask(asking.url(1, f"/children?at={following}")).status == 200
            assert server.ask(f"/api/v1/cursor?at={following}").json["cursor"] == 5
        assert server.ask(f"/api/v1/cursor?at={iso(4)}").status == 410
        assert asking.names(1, 5) == ["new"]
        assert asking.node(2, "/history")["earliest"] == 5
        assert "from_path" not in asking.node(2, "/history")["events"][1]
    log.close()


@pytest.fixture
def merged(tmp_path: Path) -> Iterator[tuple[Log, SnapshotStore]]:
    """A log whose history is merged up to position 9, with snapshots of positions 4 and 7."""
    log = Log(f"{tmp_path}/log.db", FOLDS, clock=StepClock())
    store = SnapshotStore(tmp_path / "snapshots")
    with contextlib.closing(open_reader(log.path)) as reader:
        for position, (node, event) in enumerate(HISTORY, 1):
            log.append([Draft(node, event)])
            if position in {4, 7}:
                store.take(reader, START_US + position * DAY_US)
    log.call(lambda tx: tx.set_meta("merged", "9"))
    yield log, store
    log.close()


def test_below_what_is_left_the_snapshot_before_is_shown(merged: tuple[Log, SnapshotStore]) -> None:
    log, store = merged
    with serving(app_of(log, store=store)) as server:
        asking = Asking(log, server)
        for at, position, exact, names in (
            (4, 4, True, ["old"]),
            (6, 4, False, ["old"]),
            (7, 7, True, ["c\ufffd", "new"]),
            (8, 7, False, ["c\ufffd", "new"]),
            (iso(5, 1), 4, False, ["old"]),
            (iso(7, 1), 7, False, ["c\ufffd", "new"]),
            (9, 9, True, ["c\ufffd"]),
            (0, 0, True, None),
        ):
            number = 0 if names is None else 1
            answer = asking.node(number, f"/children?at={at}")
            assert (answer["position"], answer["exact"]) == (position, exact)
            assert [child["name"] for child in answer["children"]] == (names or [])
        answer = asking.node(4, "?at=6")
        assert (answer["path"], answer["position"], answer["exact"]) == (
            "/mnt/media/old/a",
            4,
            False,
        )
        answer = server.get("/api/v1/nodes/by-path?path=/mnt/media/new/b&at=8")
        assert (answer["node"]["id"], answer["position"]) == (asking.id(3), 7)
        refused = server.ask(asking.url(1, "?at=3"))
        assert (refused.status, refused.json["earliest"]) == (410, 4)
        assert refused.json["earliest_time"] == "2026-03-07T12:00:00.000001+00:00"


def damage(path: Path) -> None:
    """Change a byte in the middle of a snapshot."""
    with SnapshotFile(path) as file:
        start = file.trailer.node_frames[0].start
    raw = bytearray(path.read_bytes())
    raw[start + 20] ^= 1
    path.write_bytes(raw)


def test_a_snapshot_that_is_damaged_is_told_once_and_the_next_older_one_is_taken(
    merged: tuple[Log, SnapshotStore], caplog: pytest.LogCaptureFixture
) -> None:
    log, store = merged
    newest = store.files()[0]
    damage(newest.path)
    with serving(app_of(log, store=store)) as server:
        asking = Asking(log, server)
        for _ in range(2):
            assert asking.names(1, 8) == ["old"]  # as of position 4
        assert caplog.text.count("damaged at byte") == 1
        assert asking.names(1) == ["+ %", "c\ufffd"]
    assert [one.path for one in store.files() if one.problem] == [newest.path]


def test_when_every_snapshot_is_damaged_nothing_is_known_of_that_time(
    merged: tuple[Log, SnapshotStore],
) -> None:
    log, store = merged
    for listed in store.files():
        damage(listed.path)
    with serving(app_of(log, store=store)) as server:
        asking = Asking(log, server)
        assert server.ask(asking.url(1, "/children?at=8")).status == 410
        assert asking.names(1) == ["+ %", "c\ufffd"]


def test_until_the_first_scan_is_done_nothing_is_shown(log: Log) -> None:
    with serving(app_of(log, ready=False)) as server:
        for rest in ("", "/children", "/history"):
            assert server.ask(f"/api/v1/nodes/{log.ids.to_id(1)}{rest}").status == 503
        assert server.ask("/api/v1/nodes/by-path?path=/").status == 503
        assert server.ask(f"/api/v1/cursor?at={iso(1)}").status == 503
