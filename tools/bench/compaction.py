"""Rows: a log of ten events for each node, compacted while others want the writer too."""

import hashlib
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from random import Random

from eventlog.clock import SystemClock
from eventlog.compaction import Compactor, Options, Result
from eventlog.connection import open_reader
from eventlog.events import Content, Created, Modified, State
from eventlog.log import Draft, Log
from projections.changes import read_page
from projections.replay import FOLDS
from tools.bench.bench import Bench
from tools.bench.row import Figures, Goal, Row
from tools.errors import OperatorError
from tools.maintenance import ASKED_REST

EVENTS = 10
"""Events of each node."""

DIRECTORY = 100
"""Nodes that change together; the directories come in another order each time."""

BATCH = 5_000
NODE_BYTES = 450
PAUSE_MS = 50
SAMPLES = 300
PAGE = 500
PROBE_SECONDS = 0.002


def rows(bench: Bench) -> Iterator[Row]:
    """Make such a log, compact it, and prove that the feed answers as before."""
    path = bench.new_state() / "log.db"
    bench.say(f"making a log of {bench.log_nodes:,} nodes and {EVENTS} events each")
    log = Log(str(path), FOLDS)
    try:
        fill(log, bench.log_nodes, Random(1))  # noqa: S311 - the same log each time
        before = answers(log)
        bench.say("compacting it")
        result, waited = compact(log)
        if answers(log) != before:
            raise OperatorError("compaction has changed what the feed answers")
    finally:
        log.close()
    yield from _rows(bench.log_nodes, result, waited, path.stat().st_size)


def fill(log: Log, nodes: int, random: Random) -> None:
    """Append a history: all nodes are made, then all change again and again."""
    log.append([Draft(0, Created("", _root()))])
    for first in range(0, nodes, BATCH):
        numbers = range(first, min(first + BATCH, nodes))
        log.append([Draft(0, Created("", _state(n, 0, random))) for n in numbers])
    directories = list(range(0, nodes, DIRECTORY))
    for size in range(1, EVENTS):
        random.shuffle(directories)
        for turn in range(0, len(directories), BATCH // DIRECTORY):
            drafts = [
                # The root has number 1, and what is made after it the numbers from 2 on.
                Draft(n + 2, Modified("", _state(n, size, random)))
                for directory in directories[turn : turn + BATCH // DIRECTORY]
                for n in range(directory, min(directory + DIRECTORY, nodes))
            ]
            log.append(drafts)


def answers(log: Log) -> bytes:
    """Return a digest of what some cursors are answered: the ends, and others by chance."""
    random = Random(2)  # noqa: S311 - the same cursors each time
    cursors = [0, 1, log.head - 1, log.head]
    cursors += [random.randrange(log.head) for _ in range(SAMPLES)]
    digest = hashlib.sha256()
    with closing(open_reader(log.path)) as reader:
        for cursor in cursors:
            digest.update(repr(read_page(reader, cursor, PAGE)).encode())
    return digest.digest()


def compact(log: Log) -> tuple[Result, float]:
    """Compact all, as a server does when asked.

    Returns:
        What came of it, and the longest that someone had to wait for the writer, in seconds.
    """
    clock, done = SystemClock(), threading.Event()
    waits = [0.0]

    def probe() -> None:
        while not done.wait(PROBE_SECONDS):
            began = clock.monotonic()
            log.call(lambda _transaction: None)
            waits.append(clock.monotonic() - began)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        # A window that ends in the future: all is old enough.
        compactor = Compactor(log, Options(-(10**9)), clock)
        return compactor.run(threading.Event(), ASKED_REST), max(waits)
    finally:
        done.set()
        thread.join()


def _rows(nodes: int, result: Result, waited: float, size: int) -> Iterator[Row]:
    for what, unit, value, goal in (
        ("database after compaction", "bytes a node", size / nodes, NODE_BYTES),
        ("compaction", "s", result.seconds, None),
        ("longest pause of the writer", "ms", result.longest_hold_ms, PAUSE_MS),
        ("longest wait for the writer", "ms", waited * 1000, None),
    ):
        yield Row(
            work=f"{what}, {nodes:,} nodes",
            unit=unit,
            ours=Figures("nasfeed", (value,)),
            goal=None if goal is None else Goal(goal, relative=False),
            note=f"{result.dropped:,} events dropped",
        )


def _root() -> State:
    return State(0, b"root", stat.S_IFDIR | 0o755, 0, 1, 1, 7, 2, 0, 0, 0, target=b"/mnt/media")


def _state(n: int, size: int, random: Random) -> State:
    return State(
        parent=1,
        name=b"IMG_%07d.jpg" % n,
        mode=stat.S_IFREG | 0o644,
        size=size,
        mtime_ns=1_772_625_600_000_000_000 + n,
        ctime_ns=1_772_625_600_000_000_000 + size,
        fs=0x1234_5678_9ABC,
        ino=100_000 + n,
        uid=1000,
        gid=1000,
        nlink=1,
        content=Content.DONE,
        hash=random.randbytes(16),
        mime="image/jpeg",
        width=4000,
        height=3000,
    )
