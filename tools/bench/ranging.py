"""Rows: ranges of a large file of the media library over HTTP, beside nginx where it is installed.

The clients share the machine with the server. So what the server's own processor time is worth is
a row of its own.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tools.bench import library_log, nginx
from tools.bench.bench import Bench
from tools.bench.library_client import Client, serving
from tools.bench.loads import run_load
from tools.bench.process import Child
from tools.bench.row import Figures, Goal, Row

MB: Final = 1_000_000
MIB: Final = 2**20
GOAL_MB: Final = 300
LENGTH: Final = 2**28
_NAME: Final = "large.mp4"
_ROOT: Final = "files"


class Measure(NamedTuple):
    """Something that is asked for.

    Attributes:
        size: of each range, bytes.
        clients: at once.
        goal: the least, MB/s; None for none.
    """

    size: int
    clients: int
    goal: float | None = None


MEASURES: Final = (
    Measure(2**16, 1),
    Measure(2**16, 4),
    Measure(2**20, 1, GOAL_MB),
    Measure(2**20, 4, GOAL_MB),
    Measure(LENGTH, 1, GOAL_MB),
    Measure(LENGTH, 4, GOAL_MB),
)


class Place(NamedTuple):
    """Where the file can be read.

    Attributes:
        name: of the server.
        child: its processes.
        port: that it listens on.
        target: of requests for the file.
        cookie: of a session.
    """

    name: str
    child: Child
    port: int
    target: str
    cookie: str


def rows(bench: Bench) -> Iterator[Row]:
    """Measure reading.

    Args:
        bench: the run.

    Yields:
        Rows, more being better.
    """
    state = bench.new_state()
    root = state / _ROOT
    root.mkdir()
    _write(root / _NAME)
    with _library(state) as ours, nginx.serving(bench, root, state) as found:
        peer = found and Place("nginx", found.child, found.port, f"/{_NAME}", "")
        for measure in MEASURES:
            size = f"{measure.size // 1024:,} KiB"
            bench.say(f"ranges of {size}, {measure.clients} at once")
            mine = _measured(bench, ours, measure)
            theirs = peer and _measured(bench, peer, measure)
            for index, what in enumerate(("MB/s", "MB of its own processor second")):
                goal = measure.goal if index == 0 else None
                yield Row(
                    work=f"library: ranges of {size}, {measure.clients} at once",
                    unit=what,
                    ours=mine[index],
                    theirs=theirs[index] if theirs else None,
                    better="more",
                    goal=None if goal is None else Goal(goal, relative=False),
                )
    shutil.rmtree(state)


def _write(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(LENGTH // MIB):
            file.write(os.urandom(MIB))


@contextlib.contextmanager
def _library(state: Path) -> Iterator[Place]:
    """Serve the file as a media library does, to somebody who is logged in."""
    library_log.begin(str(state / "feed.db"), (_ROOT,)).close()
    with serving(state, {_ROOT: str(state / _ROOT)}) as feed:
        feed.child.wait_until(feed.described)
        with contextlib.closing(Client(feed.port)) as client:
            number = client.ask("/files.icc?pageIndex=0")["data"]["list"][0]["id"]
            target = f"/downFile.icc.mp4?id={number}"
            yield Place("nasfeed", feed.child, feed.port, target, client.cookie)


def _measured(bench: Bench, place: Place, measure: Measure) -> tuple[Figures, Figures]:
    """Return MB a second, and MB a second of the server's processor time."""
    rates, worth = [], []
    for _ in range(bench.repeat):
        before = place.child.cpu_seconds()
        rate, count = _load(bench, place, measure)
        rates.append(rate / MB)
        worth.append(count / MB / (place.child.cpu_seconds() - before))
    return Figures(place.name, tuple(rates)), Figures(place.name, tuple(worth))


def _load(bench: Bench, place: Place, measure: Measure) -> tuple[float, int]:
    """Return bytes a second, and bytes."""
    words = [str(place.port), place.target, place.cookie, str(LENGTH), str(measure.size)]
    words += [str(measure.clients), str(bench.load_seconds)]
    printed = run_load("range_load", words, "reading ranges")
    rate, count = json.loads(printed)
    return float(rate), int(count)
