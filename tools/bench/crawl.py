"""Rows: the first scan, and a restart with nothing changed, beside Watchman's crawl."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tools.bench.bench import Bench, Run, alternate, ended, figures
from tools.bench.feeds import NASFEED, Feed
from tools.bench.row import Figures, Goal, Row
from tools.bench.tree import take
from tools.bench.watchman import Watchman

WAIT: dict[str, object] = {"startup": "wait"}
"""Has a restart answer only when the comparison with the disk is done."""


def rows(bench: Bench) -> Iterator[Row]:
    """Measure both; the trees are read once before, so that every side finds a warm cache."""
    take(bench.tree.path)
    bench.say("first scan")
    yield _row(bench, "first scan to first cursor", bench.new_state, Goal(0.9))
    bench.say("restart")
    stored = _stored(bench)
    yield _row(bench, "restart, nothing changed", lambda: stored, Goal(0.6))
    yield Row(
        work="restart to first cursor",
        unit="s",
        ours=Figures("nasfeed", tuple(_feed(bench, stored, {}).seconds for _ in range(3))),
        note="the stored log is served at once, while the comparison runs",
    )


def _row(bench: Bench, work: str, state: Callable[[], Path], goal: Goal) -> Row:
    ours: list[Run] = []
    theirs: list[Run] = []
    executable = bench.watchman
    sides = [lambda: ours.append(_feed(bench, state(), WAIT))]
    if executable:
        sides.append(lambda: theirs.append(_watchman(bench, executable, state())))
    alternate(bench.repeat, *sides)
    return Row(
        work=f"{work}, {bench.tree.entries:,} entries",
        unit="s",
        ours=figures("nasfeed", ours),
        theirs=figures("watchman", theirs) if theirs else None,
        goal=goal,
    )


def _stored(bench: Bench) -> Path:
    """Make a state that holds the whole tree, hashes included, for both."""
    state = bench.new_state()
    feed = Feed(NASFEED, bench.tree.path, state)
    with ended(feed):
        feed.child.wait_until(feed.described, 0.25)
    if bench.watchman:
        _watchman(bench, bench.watchman, state)
    return state


def _feed(bench: Bench, state: Path, keys: dict[str, object]) -> Run:
    feed = Feed(NASFEED, bench.tree.path, state, keys)
    with ended(feed):
        seconds = feed.child.wait_until(feed.ready)
        return Run(seconds, feed.child.cpu_seconds())


def _watchman(bench: Bench, executable: str, state: Path) -> Run:
    server = Watchman(executable, state)
    with ended(server):
        seconds = server.until_crawled(bench.tree.path)
        return Run(seconds, server.child.cpu_seconds())
