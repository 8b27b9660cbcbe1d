"""Everything pending is handed out, the new before the old, each once at a time."""

import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventlog.connection import open_reader
from eventlog.events import DISK, Content, Created, Described, Modified
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from projections.tree import Tree
from watcher.backend import Place
from watcher.backlog import RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS, Backlog, Tally
from watcher.observation import Facts, new_state


class Bench:
    """A log of pending files and a backlog that begins at its head."""

    def __init__(self, log: Log, old: int) -> None:
        self._log = log
        self.tree = Tree(open_reader(log.path))
        root = Facts(stat.S_IFDIR | 0o755, 0, 10, 10, 7, 1, 0, 0, 0)
        log.append([Draft(0, Created(DISK, new_state(Place(0, b"r"), root, b"/srv")))])
        self.old = [self.create() for _ in range(old)]
        self.backlog = Backlog(log.head)

    def create(self) -> int:
        facts = Facts(stat.S_IFREG | 0o644, 3, 100, 100, 7, self._log.head, 0, 0, 1)
        place = Place(1, b"%d" % self._log.head)
        return self._log.append([Draft(0, Created(DISK, new_state(place, facts)))])

    def change(self, number: int) -> None:
        self._put(number, Content.PENDING)

    def done(self, number: int, content: Content = Content.DONE) -> None:
        self._put(number, content)

    def _put(self, number: int, content: Content) -> None:
        node = self.tree.node(number)
        assert node is not None
        state = msgspec.structs.replace(node.state, content=content)
        pending = content == Content.PENDING
        event = Modified(DISK, state) if pending else Described(DISK, state)
        self._log.append([Draft(number, event)])

    def idle(self) -> bool:
        return self.backlog.idle

    def next(self, limit: int = 100, now: float = 0.0) -> list[int]:
        """Return what is handed out, and note that it is in flight."""
        numbers = [node.number for node in self.backlog.next(self.tree, limit, now)]
        for number in numbers:
            self.backlog.begin(number)
        return numbers

    def finish(self, number: int, now: float = 0.0, *, settled: bool = True) -> None:
        if settled:
            self.done(number)
        self.backlog.finish(number, now, settled=settled)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    yield log
    log.close()


def test_what_is_old_is_handed_out_in_order_and_once(log: Log) -> None:
    bench = Bench(log, old=5)
    assert bench.next(limit=3) == bench.old[:3]
    assert bench.next(limit=3) == bench.old[3:]
    assert bench.next() == []
    assert bench.backlog.in_flight == 5


def test_what_is_new_comes_before_what_is_old(log: Log) -> None:
    bench = Bench(log, old=5)
    bench.next(limit=1)
    new = bench.create()
    assert bench.next(limit=1) == [new]
    assert bench.next() == bench.old[1:]


def test_a_file_that_changes_while_it_is_read_is_handed_out_again(log: Log) -> None:
    bench = Bench(log, old=1)
    [number] = bench.next()
    bench.change(number)
    assert bench.next() == []
    bench.backlog.finish(number, 0.0, settled=True)
    assert not bench.idle()
    assert bench.next(now=RETRY_FIRST_SECONDS) == [number]


def test_a_file_that_is_not_ready_is_tried_again_later_and_later(log: Log) -> None:
    bench = Bench(log, old=1)
    now, pauses = 0.0, []
    [number] = bench.next()
    for _ in range(12):
        bench.finish(number, now, settled=False)
        pause = bench.backlog.sleep_seconds(now, 1000.0)
        assert bench.next(now=now + pause * 0.9) == []
        pauses.append(pause)
        now += pause
        assert bench.next(now=now) == [number]
    assert pauses[0] == RETRY_FIRST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == RETRY_MAX_SECONDS


def test_a_file_that_changes_is_tried_at_once_whatever_it_waited_for(log: Log) -> None:
    bench = Bench(log, old=1)
    [number] = bench.next()
    bench.finish(number, settled=False)
    bench.change(number)
    assert bench.next() == [number]


def test_it_is_idle_when_all_is_done(log: Log) -> None:
    bench = Bench(log, old=2)
    assert not bench.idle()
    for number in bench.next():
        bench.finish(number)
    assert bench.next() == []
    assert bench.idle()
    assert bench.backlog.sleep_seconds(0.0, 7.0) == 7.0


@pytest.mark.parametrize("content", [Content.SKIPPED, Content.FAILED])
def test_what_was_skipped_or_has_failed_comes_only_when_asked_for(
    log: Log, content: Content
) -> None:
    bench = Bench(log, old=2)
    for number in bench.next():
        bench.done(number, content)
        bench.backlog.finish(number, 0.0, settled=True)
    assert bench.next() == []
    bench.backlog.rehash()
    assert bench.next() == bench.old


def test_after_a_split_what_is_pending_then_counts_as_old(log: Log) -> None:
    bench = Bench(log, old=0)
    scanned = [bench.create() for _ in range(3)]
    bench.backlog.split_at(log.head)
    new = bench.create()
    assert bench.next() == [new]
    assert bench.next() == scanned


def test_the_rate_is_that_of_the_last_seconds() -> None:
    tally = Tally()
    for second in range(20):
        tally.add(100, 1, float(second))
    assert tally.done == 2000
    assert tally.failed == 20
    assert 90 <= tally.per_second(19.0) <= 120
    assert tally.per_second(100.0) == 0.0
