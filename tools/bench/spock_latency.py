"""How soon the feed tells of a file, while the filesystem over HTTP is idle and while it works."""

import contextlib
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.bench import latency
from tools.bench.feeds import Feed
from tools.bench.latency import FILE_BYTES, PAUSE_SECONDS
from tools.bench.process import CLOCK
from tools.bench.pushing import Stream
from tools.bench.row import Figures, Row, percentile

Load = Callable[[], subprocess.Popen[bytes] | None]
"""Begins work; None: there is none."""


def rows(feed: Feed, directory: Path, loads: dict[str, Load], saves: int) -> Iterator[Row]:
    """Measure each.

    Args:
        feed: of the server.
        directory: of its root; the files are written there, past the filesystem over HTTP.
        loads: what it does meanwhile, by name.
        saves: how many files at most.

    Yields:
        A row for each load.
    """
    for name, begin in loads.items():
        feed.child.wait_until(feed.ready)  # its connection may have been idle for too long
        latency.settled(feed)
        found = [seconds * 1_000 for seconds in _measure(feed, directory, begin, saves)]
        yield Row(
            work=f"close to pushed, median, {name}",
            unit="ms",
            ours=Figures("nasfeed", (percentile(found, 50),)),
            note=f"of {len(found)}; p99 {percentile(found, 99):.1f} ms",
        )


def _measure(feed: Feed, directory: Path, begin: Load, saves: int) -> list[float]:
    """Return the seconds from the close of each file until a stream has told of it."""
    found: list[float] = []
    with contextlib.closing(Stream(feed.port, feed.cursor())) as stream:
        load = begin()
        try:
            while len(found) < saves and (load is None or load.poll() is None or not found):
                found.append(_save(stream, directory / f"saved{len(found)}"))
                threading.Event().wait(PAUSE_SECONDS)
        finally:
            if load is not None:
                load.terminate()
                load.wait()
    for path in directory.glob("saved*"):
        path.unlink()
    return found


def _save(stream: Stream, path: Path) -> float:
    path.write_bytes(os.urandom(FILE_BYTES))
    closed = CLOCK.monotonic()
    name = re.escape(path.name.encode())
    told = stream.wait_for(b'"name":"%b"[^{}]*"size":%d' % (name, FILE_BYTES))
    return max(0.0, told - closed)
