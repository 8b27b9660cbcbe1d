"""The feed over the real log: the log in memory of the other tests must not differ from it."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.app import Dependencies, create_app
from eventlog.events import Created, Described, Event, Modified, Moved, Reason, Removed
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from tests.api.support import READY, MemoryLog, Server, make_app, serving, state, status_of
from tools.feed_reader import FeedReader

DIRECTORY = stat.S_IFDIR | 0o755
HISTORY: list[tuple[int, Event]] = [
    (0, Created("", state(b"media", 0, mode=DIRECTORY, target=b"/mnt/m\xe9dia"))),
    (0, Created("", state(b"a", 1))),
    (0, Created("", state(b"d", 1, mode=DIRECTORY))),
    (0, Created("", state(b"b\xff", 3))),
    (2, Modified("", state(b"a", 1, size=9))),
    (4, Moved("", state(b"c", 1), 3, b"b\xff")),
    (3, Removed("", Reason.DELETED, 1, b"d", DIRECTORY)),
    (0, Created("", state(b"l", 1, mode=stat.S_IFLNK, target=b"\xfe"))),
    (2, Described("", state(b"a", 1, size=9, hash=b"\0" * 16, mime="image/png", width=1))),
    (8, Removed("", Reason.REPLACED, 1, b"l", stat.S_IFLNK)),
]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log(str(tmp_path / "feed.db"), FOLDS)
    yield opened
    opened.close()


@pytest.fixture
def real(log: Log) -> Iterator[Server]:
    memory = MemoryLog(log.log_id)
    dependencies = Dependencies(FeedReader(log), lambda: READY, lambda: status_of(memory), "1")
    with serving(create_app(dependencies)) as server:
        yield server


@pytest.fixture
def fake(log: Log) -> Iterator[Server]:
    memory = MemoryLog(log.log_id)
    memory.ids = log.ids
    with serving(make_app(memory)) as server:
        for node, event in HISTORY:
            memory.append(event, node)
        yield server


def pages(server: Server, cursor: int, size: int) -> list[dict[str, Any]]:
    found = []
    while True:
        page = server.get(f"/api/v1/changes?cursor={cursor}&max_size={size}")
        found.append(page)
        cursor = page["cursor"]
        if not page["has_more"]:
            return found


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_from_every_cursor_the_real_log_and_the_one_in_memory_say_the_same(
    log: Log, real: Server, fake: Server, size: int
) -> None:
    for node, event in HISTORY:
        log.append([Draft(node, event)])
    for cursor in range(len(HISTORY) + 1):
        assert pages(real, cursor, size) == pages(fake, cursor, size)


def test_every_append_is_seen_at_once(log: Log, real: Server) -> None:
    for position, (node, event) in enumerate(HISTORY, 1):
        log.append([Draft(node, event)])
        assert real.get("/api/v1/cursor")["cursor"] == position
        assert real.get(f"/api/v1/changes?cursor={position}")["changes"] == []
        assert real.ask(f"/api/v1/changes?cursor={position + 1}").status == 410


def test_the_path_of_a_node_follows_its_parents(log: Log, real: Server) -> None:
    for node, event in HISTORY:
        log.append([Draft(node, event)])
    shown = {
        number: real.ask(f"/api/v1/nodes/{log.ids.to_id(number)}/path") for number in range(1, 9)
    }
    assert shown[1].json["path"] == "/mnt/m\N{REPLACEMENT CHARACTER}dia"
    assert shown[4].json["path"] == "/mnt/m\N{REPLACEMENT CHARACTER}dia/c"
    assert shown[4].json["path_raw"] == "L21udC9t6WRpYS9j"
    assert [number for number, answer in shown.items() if answer.status == 404] == [3, 5, 6, 7, 8]
