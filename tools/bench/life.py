"""The life of a server of the feed: everything that is measured while it runs, and its restart."""

import json
import threading
from typing import Any, NamedTuple

from tools.bench import drain, latency, load
from tools.bench.bench import Bench, Run, ended
from tools.bench.crawl import WAIT
from tools.bench.feeds import NASFEED, Feed, Program
from tools.bench.latency import Latencies
from tools.bench.tree import Tree
from tools.errors import OperatorError

LOOK_SECONDS = 0.25
"""Between looks at a server that is busy with hashing, and at its memory."""

DRAINS = 3

IDLE_SECONDS = 5.0
"""After which a server has let go of what it kept for a while."""


class Life(NamedTuple):
    """What was measured.

    Attributes:
        ready: until the first usable cursor.
        described: until everything was hashed.
        changes: how many a drain gives.
        drained: changes a second, in pages as large as the server gives.
        drained_default: the same in pages of the default size.
        cursors: answers to `/cursor` a second.
        latencies: of files that were saved; None if that was not asked for.
        memory_peak: bytes, while everything was scanned and hashed.
        memory_drained: bytes, right after the drains.
        memory: bytes, some seconds after all this.
        database: bytes, after a clean stop.
        restart: until the tree was compared again.
    """

    ready: Run
    described: Run
    changes: int
    drained: float
    drained_default: float
    cursors: float
    latencies: Latencies | None
    memory_peak: int
    memory_drained: int
    memory: int
    database: int
    restart: Run


def live(bench: Bench, program: Program, tree: Tree, *, saves: int = 0) -> Life:
    """Run a server from its first scan to a restart.

    Args:
        bench: the run.
        program: which server.
        tree: what it watches.
        saves: how many files to write into the tree to measure latency.
    """
    state = bench.new_state()
    feed = Feed(program, tree.path, state)
    with ended(feed):
        ready = _run(feed, feed.child.wait_until(feed.ready))
        described, peak = _described(feed)
        changes = count(drain.drain(feed.port, program.page))
        rates = [_rate(feed, changes, page) for page in (program.page, 1000)]
        drained = feed.child.memory_bytes()
        cursors = load.answers_per_second(bench.wrk, feed.port, bench.load_seconds)
        latencies = latency.measure(feed, tree.path, saves) if saves else None
        threading.Event().wait(IDLE_SECONDS)
        memory = feed.child.memory_bytes()
    database = sum(file.stat().st_size for file in state.glob("feed.db*"))
    again = Feed(program, tree.path, state, WAIT if program is NASFEED else None)
    with ended(again):
        restart = _run(again, again.child.wait_until(again.ready))
    return Life(
        ready,
        described,
        changes,
        rates[0],
        rates[1],
        cursors,
        latencies,
        peak,
        drained,
        memory,
        database,
        restart,
    )


def _run(feed: Feed, seconds: float) -> Run:
    return Run(seconds, feed.child.cpu_seconds())


def _described(feed: Feed) -> tuple[Run, int]:
    """Wait until everything is hashed; return what that took, and the most memory seen."""
    memory = [feed.child.memory_bytes()]

    def done() -> bool:
        memory.append(feed.child.memory_bytes())
        return feed.described()

    seconds = feed.child.wait_until(done, LOOK_SECONDS)
    return _run(feed, seconds), max(memory)


def _rate(feed: Feed, changes: int, page: int) -> float:
    return changes / min(drain.seconds(feed.port, page) for _ in range(DRAINS))


def count(pages: list[bytes]) -> int:
    """Count the changes, and prove that they are what was to be measured.

    Raises:
        OperatorError: a file has no hash.
    """
    if bare := unhashed(pages):
        raise OperatorError(f"{len(bare)} files have no hash, such as {bare[0]}")
    return len(_changes(pages))


def unhashed(pages: list[bytes]) -> list[str]:
    """Return the names of the files that have no hash."""
    nodes = [change["node"] for change in _changes(pages) if not change["removed"]]
    bare = [n for n in nodes if n.get("kind", "file") == "file" and not n["hash"]]
    return [node["name"] for node in bare if not node["is_directory"]]


def _changes(pages: list[bytes]) -> list[dict[str, Any]]:
    return [change for page in pages for change in json.loads(page)["changes"]]
