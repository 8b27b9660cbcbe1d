"""Rows: how soon a stream tells of a file, beside a client that polls; and what idle streams cost.

The peer has no streams. It is polled without any pause, which no client could do for long.
"""

import contextlib
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tools.bench import latency
from tools.bench.bench import Bench, alternate, ended
from tools.bench.feeds import CURSOR, NASFEED, Feed, Program
from tools.bench.large import MIB
from tools.bench.latency import DEADLINE_SECONDS, FILE_BYTES, PAUSE_SECONDS, PREFIX
from tools.bench.process import CLOCK
from tools.bench.row import Figures, Goal, Row, percentile
from tools.errors import OperatorError

STREAMS = 500
"""Idle ones."""

ADDRESSES = 4
"""Of this machine, from which they come: one client may not have so many connections."""

REQUESTS = 3_000
"""For the cursor, one after the other, with and without idle streams."""

SETTLE_SECONDS = 2.0

_STREAM = "/api/v1/changes/stream"
_RECEIVE_BYTES = 2**18


class Idle(NamedTuple):
    """What idle streams did to a server.

    Attributes:
        memory: bytes that it took more.
        alone: seconds of each request without them.
        beside: seconds of each request beside them.
    """

    memory: int
    alone: list[float]
    beside: list[float]


class Stream:
    """A client of a stream that begins at the end of the log."""

    def __init__(self, port: int, cursor: int, address: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection(
            ("127.0.0.1", port), timeout=DEADLINE_SECONDS, source_address=(address, 0)
        )
        self._received = b""
        request = f"GET {_STREAM}?cursor={cursor} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        self._socket.sendall(request.encode())
        self.wait_for(b"caught_up")

    def wait_for(self, pattern: bytes) -> float:
        """Receive until a pattern has come, and return the time; forgets what came before."""
        while not re.search(pattern, self._received):
            data = self._socket.recv(_RECEIVE_BYTES)
            if not data:
                raise OperatorError("the server has ended a stream")
            self._received += data
        self._received = b""
        return CLOCK.monotonic()

    def close(self) -> None:
        """Close it."""
        self._socket.close()


def rows(bench: Bench) -> Iterator[Row]:
    """Measure both."""
    pushed: list[list[float]] = []
    polled: list[list[float]] = []
    idle: list[Idle] = []
    sides = [partial(_live, bench, pushed, idle)]
    if bench.wcpan:
        sides.append(partial(_poll, bench, bench.wcpan, polled))
    alternate(bench.repeat, *sides)
    for percent, name, goal in ((50, "median", 5), (99, "p99", 25)):
        yield Row(
            work=f"close to pushed, {name}",
            unit="ms",
            ours=_milliseconds("nasfeed", pushed, percent),
            theirs=_milliseconds("wcpan", polled, percent) if polled else None,
            better="less",
            goal=Goal(goal, relative=False),
            note="the peer is polled without a pause",
        )
    yield Row(
        work=f"memory, {STREAMS} idle streams",
        unit="MiB",
        ours=Figures("nasfeed", tuple(each.memory / MIB for each in idle)),
        theirs=None,
        better="less",
        goal=Goal(20, relative=False),
    )
    for percent, name in ((50, "median"), (99, "p99")):
        yield Row(
            work=f"GET /cursor, {STREAMS} streams, {name}",
            unit="ms",
            ours=_milliseconds("nasfeed", [each.beside for each in idle], percent),
            theirs=_milliseconds("no streams", [each.alone for each in idle], percent),
            better="less",
        )


def _milliseconds(name: str, seconds: list[list[float]], percent: float) -> Figures:
    return Figures(name, tuple(percentile(each, percent) * 1e3 for each in seconds))


def _live(bench: Bench, pushed: list[list[float]], idle: list[Idle]) -> None:
    bench.say(f"streams of nasfeed on {bench.small.entries:,} entries")
    feed = Feed(NASFEED, bench.small.path, bench.new_state())
    with ended(feed):
        feed.child.wait_until(feed.ready)
        feed.child.wait_until(feed.described, 0.25)
        pushed.append(_pushed(feed, bench.small.path, bench.saves))
        idle.append(_idle(feed))


def _poll(bench: Bench, program: Program, polled: list[list[float]]) -> None:
    bench.say(f"polls of {program.name} on {bench.small.entries:,} entries")
    keys = {**program.keys, "metadata_workers": 1}  # it crashes with several
    feed = Feed(program._replace(keys=keys), bench.small.path, bench.new_state())
    with ended(feed):
        feed.child.wait_until(feed.ready)
        polled.append(latency.measure(feed, bench.small.path, bench.saves).visible)


def _pushed(feed: Feed, tree: Path, count: int) -> list[float]:
    """Return the seconds from the close of each file until a stream has told of it."""
    latency.settled(feed)
    found: list[float] = []
    with contextlib.closing(Stream(feed.port, feed.cursor())) as stream:
        for number in range(count):
            path = tree / f"{PREFIX}{number}.txt"
            path.write_bytes(os.urandom(FILE_BYTES // 2).hex().encode())
            closed = CLOCK.monotonic()
            told = stream.wait_for(b'"name":"%b"[^{}]*"size":%d' % (path.name.encode(), FILE_BYTES))
            found.append(max(0.0, told - closed))
            threading.Event().wait(PAUSE_SECONDS)
    for path in tree.glob(f"{PREFIX}*"):
        path.unlink()
    latency.settled(feed)
    return found


def _idle(feed: Feed) -> Idle:
    pause = threading.Event()
    _requests(feed)  # so that what they need is not counted
    pause.wait(SETTLE_SECONDS)
    before = feed.child.memory_bytes()
    alone, cursor = _requests(feed), feed.cursor()
    with contextlib.ExitStack() as streams:
        for number in range(STREAMS):
            address = f"127.0.0.{2 + number % ADDRESSES}"
            stream = Stream(feed.port, cursor, address)
            streams.enter_context(contextlib.closing(stream))
        pause.wait(SETTLE_SECONDS)
        memory = feed.child.memory_bytes() - before
        return Idle(memory, alone, _requests(feed))


def _requests(feed: Feed) -> list[float]:
    """Ask for the cursor, and return the seconds of each answer."""
    found = []
    for _ in range(REQUESTS):
        began = CLOCK.monotonic()
        json.loads(feed.get(CURSOR)[1])
        found.append(CLOCK.monotonic() - began)
    return found
