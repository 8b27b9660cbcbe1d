"""How long after its last close a file is in the feed, and then with its hash."""

import json
import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

from tools.bench.feeds import Feed
from tools.bench.process import CLOCK
from tools.errors import OperatorError

DEADLINE_SECONDS = 60.0
PREFIX = "nasfeed-bench-"
FILE_BYTES = 4096
PAUSE_SECONDS = 0.005
"""Between two files: each finds the server idle, as a user's save does."""


class Latencies(NamedTuple):
    """Seconds from the close of each file until it is visible, and until it has its hash."""

    visible: list[float]
    hashed: list[float]


def measure(feed: Feed, tree: Path, count: int) -> Latencies:
    """Write files one after the other, and remove them in the end.

    They go right into the tree: the peer never reports files in directories made while it runs.
    """
    settled(feed)
    found = Latencies([], [])
    for number in range(count):
        visible, hashed = _save(feed, tree / f"{PREFIX}{number}.txt")
        found.visible.append(visible)
        found.hashed.append(hashed)
        threading.Event().wait(PAUSE_SECONDS)
    for path in tree.glob(f"{PREFIX}*"):
        path.unlink()
    settled(feed)
    return found


def settled(feed: Feed) -> None:
    """Wait until a second has passed in which nothing came."""
    pause, last = threading.Event(), -1
    while (cursor := feed.cursor()) != last:
        last = cursor
        pause.wait(1)


def _save(feed: Feed, path: Path) -> tuple[float, float]:
    content = os.urandom(FILE_BYTES // 2).hex().encode()
    before = seen = feed.cursor()
    path.write_bytes(content)
    closed, visible = CLOCK.monotonic(), 0.0
    while CLOCK.monotonic() - closed < DEADLINE_SECONDS:
        if (cursor := feed.cursor()) == seen:
            continue
        seen = cursor
        node = _find(feed, before, path.name)
        if node.get("size") == FILE_BYTES:
            now = CLOCK.monotonic() - closed
            visible = visible or now
            if node["hash"]:
                return visible, now
    raise OperatorError(f"{path}: not in the feed after {DEADLINE_SECONDS:.0f} seconds")


def _find(feed: Feed, cursor: int, name: str) -> dict[str, Any]:
    """Return the last state of a node among the changes after a cursor; {} when it is not there."""
    body = feed.get(f"/api/v1/changes?cursor={cursor}")[1]
    nodes = [change["node"] for change in json.loads(body)["changes"] if not change["removed"]]
    named: list[dict[str, Any]] = [node for node in nodes if node["name"] == name]
    return named[-1] if named else {}
