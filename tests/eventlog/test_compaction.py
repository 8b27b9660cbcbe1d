"""Compaction drops what later events replaced, and nobody can tell from the feed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventlog import history
from eventlog.compaction import (
    Compactor,
    Options,
    Result,
    preview,
)
from eventlog.connection import fetch, open_reader, open_writer
from eventlog.events import Modified, Reason, Record, Removed
from eventlog.log import Draft, Log
from projections.changes import read_page
from projections.replay import FOLDS, compare
from tests.eventlog.helpers import (
    DEADLINE_SECONDS,
    FakeClock,
    assert_sound,
    created,
    file_state,
    files,
    positions,
    root_state,
    sound_log,
)
from tests.model import Model
from tests.strategies import histories

GO_ON = threading.Event()
"""Never set."""


def compactor(log: Log, clock: FakeClock, window_us: int = 0, **options: object) -> Compactor:
    return Compactor(log, Options(window_us, **options), clock)  # type: ignore[arg-type]  # as named


def age(clock: FakeClock) -> None:
    """Let everything that was appended be older than a window of nothing."""
    clock.us += 1


def modified(node: int, size: int) -> Draft:
    """Change one of `files`, which begin at node 2."""
    n = node - 2
    return Draft(node, Modified("", file_state(b"f%d" % n, ino=1000 + n, size=size)))


def removed(node: int) -> Draft:
    return Draft(node, Removed("", Reason.DELETED, 1, b"f", 0o100644))


@contextmanager
def reading(log: Log) -> Iterator[apsw.Connection]:
    with closing(open_reader(log.path)) as reader:
        yield reader


def answers(log: Log) -> list[object]:
    """Return what every cursor is answered, in pages of several sizes."""
    with reading(log) as reader:
        return [
            read_page(reader, cursor, limit)
            for cursor in range(log.head + 2)
            for limit in (1, 3, 1_000)
        ]


def append(log: Log, records: list[Record], clock: FakeClock) -> None:
    for record in records:
        clock.us += 10
        node = 0 if record.node == record.position else record.node
        log.append([Draft(node, record.event)])


@settings(deadline=None, max_examples=30)
@given(histories(longest=40), st.integers(0, 500))
def test_every_cursor_is_answered_as_before_and_the_rest_is_gone(
    records: list[Record], window_us: int
) -> None:
    clock = FakeClock()
    with TemporaryDirectory() as folder, sound_log(Path(folder) / "log.db", clock) as log:
        append(log, records, clock)
        before = answers(log)
        with reading(log) as reader:
            expected = preview(reader, window_us, clock.us)
        result = compactor(log, clock, window_us).run(GO_ON)
        assert answers(log) == before
        old = [
            r for r in records if clock.us - (len(records) - r.position) * 10 < clock.us - window_us
        ]
        last_old = {record.node: record.position for record in old}
        kept = [r.position for r in records if r not in old or last_old[r.node] == r.position]
        with reading(log) as reader:
            assert positions(reader) == kept
            assert [r.event for r in history.read(reader, 0, log.head)] == [
                records[p - 1].event for p in kept
            ]
        assert result.merged == expected.merged == (old[-1].position if old else 0)
        assert result.dropped == expected.dropped == len(records) - len(kept)
        assert result.dropped_bytes == expected.dropped_bytes


def test_a_state_at_or_after_merged_can_be_made_from_the_log(log: Log, clock: FakeClock) -> None:
    log.append([created(root_state()), *files(1)])
    age(clock)
    log.append([modified(2, 1)])
    merged = log.head
    clock.us += 100
    log.append([modified(2, 2), removed(2)])
    assert compactor(log, clock, window_us=50).run(GO_ON).merged == merged
    with reading(log) as reader:
        seen = Model.of(history.read(reader, 0, merged)).states[2].size
        assert (seen, positions(reader)) == (1, [1, 3, 4, 5])


def test_what_a_first_run_kept_goes_when_it_is_replaced(log: Log, clock: FakeClock) -> None:
    log.append([created(root_state()), *files(1)])
    age(clock)
    assert compactor(log, clock).run(GO_ON).dropped == 0
    log.append([modified(2, 1)])
    log.append([removed(2)])
    age(clock)
    assert compactor(log, clock).run(GO_ON).dropped == 2
    with reading(log) as reader:
        assert positions(reader) == [1, 4]


def test_a_node_changed_many_times_keeps_one_event(log: Log, clock: FakeClock) -> None:
    log.append([created(root_state()), *files(1)])
    log.append([modified(2, size) for size in range(1, 3_000)])
    age(clock)
    assert compactor(log, clock).run(GO_ON).dropped == 2_999
    with reading(log) as reader:
        assert positions(reader) == [1, log.head]


def test_space_is_given_back(log: Log, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventlog.compaction.KEPT_PAGES", 10)
    log.append([created(root_state())])
    log.append(files(2_000))
    for size in range(5):
        log.append([modified(node, size) for node in range(2, 2_002)])
    age(clock)
    with reading(log) as reader:
        before = fetch(reader, "pragma page_count")[0][0]
    result = compactor(log, clock).run(GO_ON)
    assert result.dropped == 10_000
    with reading(log) as reader:
        pages, free = (
            fetch(reader, f"pragma {name}")[0][0] for name in ("page_count", "freelist_count")
        )
    assert result.freed_bytes == (before - pages) * 4096 > 0
    assert free <= 10
    assert Path(log.path).stat().st_size == pages * 4096


def test_stopped_at_any_step_it_goes_on_where_it_was(path: Path, clock: FakeClock) -> None:
    with sound_log(path, clock) as log:
        log.append([created(root_state()), *files(300)])
        log.append([modified(node, 1) for node in range(2, 302)])
        log.append([removed(node) for node in range(100, 200)])
        before = answers_of(log)
        age(clock)
        left = 400
        while left:
            left = stop_after_one_step(log, clock, left)
            assert_sound(path)
            assert answers_of(log) == before
        assert compactor(log, clock).run(GO_ON) == Result(merged=log.head, complete=True)


def answers_of(log: Log) -> list[object]:
    with reading(log) as reader:
        return [read_page(reader, cursor, 1_000) for cursor in range(0, log.head, 37)]


def stop_after_one_step(log: Log, clock: FakeClock, left: int) -> int:
    stop = threading.Event()
    result = compactor(log, clock).run(stop, report=lambda _done, _of: stop.set())
    assert result.dropped > 0
    return left - result.dropped


class Stop(threading.Event):
    """Is set after it was asked so often."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_a_killed_run_leaves_whole_steps(path: Path, clock: FakeClock) -> None:
    log = Log(str(path), FOLDS, clock=clock)
    log.append([created(root_state()), *files(500)])
    log.append([modified(node, 1) for node in range(2, 502)])
    age(clock)
    dropped = 0
    for asked in range(1, 30, 3):
        result = compactor(log, clock).run(Stop(asked))
        dropped += result.dropped
        log.close()
        assert_sound(path)
        log = Log(str(path), FOLDS, clock=clock)
    dropped += compactor(log, clock).run(GO_ON).dropped
    log.close()
    assert dropped == 500
    assert_sound(path)


def test_what_happens_while_it_runs_is_kept(path: Path, clock: FakeClock) -> None:
    """Events are appended between all of its steps, and clients read between them."""
    with sound_log(path, clock) as log:
        log.append([created(root_state()), *files(300)])
        log.append([modified(node, 1) for node in range(2, 302)])
        age(clock)
        model = model_of(log)

        class Busy(threading.Event):
            def wait(self, _timeout: float | None = None) -> bool:
                record = log.append([modified(2 + log.head % 300, 7)])
                with reading(log) as reader:
                    for event in history.read(reader, record - 1, record):
                        model.apply(event)
                    page = read_page(reader, 0, 1_000)
                assert {node for _, node, _ in page.rows} == set(model.states)
                return False

        compactor(log, clock).run(Busy())
        with reading(log) as reader:
            assert Model.of(history.read(reader, 0, log.head)).last == model.last


def model_of(log: Log) -> Model:
    with reading(log) as reader:
        return Model.of(history.read(reader, 0, log.head))


def test_who_wants_to_be_called_before_is_and_can_refuse(log: Log, clock: FakeClock) -> None:
    log.append([created(root_state()), *files(1)])
    log.append([modified(2, 1)])
    age(clock)
    called: list[int] = []

    def refuse(upto: int) -> None:
        called.append(upto)
        raise OSError(28, "no space for a snapshot")

    with pytest.raises(OSError, match="no space for a snapshot"):
        compactor(log, clock, before=refuse).run(GO_ON)
    with reading(log) as reader:
        assert positions(reader) == [1, 2, 3]
    compactor(log, clock, before=called.append).run(GO_ON)
    compactor(log, clock, before=called.append).run(GO_ON)
    assert called == [3, 3]


def test_who_waits_for_another_run_can_be_stopped(log: Log, clock: FakeClock) -> None:
    log.append([created(root_state()), *files(1)])
    log.append([modified(2, 1)])
    age(clock)
    stop, entered, go_on = threading.Event(), threading.Event(), threading.Event()

    def hold(_upto: int) -> None:
        entered.set()
        assert go_on.wait(DEADLINE_SECONDS)

    shared = compactor(log, clock, before=hold)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.run, GO_ON)
        assert entered.wait(DEADLINE_SECONDS)
        second = threads.submit(shared.run, stop)
        stop.set()
        assert second.result(DEADLINE_SECONDS) == Result()
        go_on.set()
        assert first.result(DEADLINE_SECONDS).dropped == 1


def test_an_empty_log_has_nothing_to_compact(log: Log, clock: FakeClock) -> None:
    assert compactor(log, clock).run(GO_ON) == Result(complete=True)


def test_a_log_of_the_future_is_left_alone(log: Log, clock: FakeClock) -> None:
    """The clock was wrong once and is right again: nothing is old yet."""
    clock.us += 10**12
    log.append([created(root_state()), *files(1)])
    log.append([modified(2, 1)])
    clock.us -= 10**12
    assert compactor(log, clock).run(GO_ON).dropped == 0


def test_a_replay_and_a_new_start_agree_with_what_is_left(path: Path, clock: FakeClock) -> None:
    log = Log(str(path), FOLDS, clock=clock)
    log.append([created(root_state()), *files(20)])
    log.append([modified(2, 1), removed(3)])
    age(clock)
    compactor(log, clock).run(GO_ON)
    log.close()
    writer = open_writer(str(path))
    writer.execute("delete from projections")
    writer.close()
    Log(str(path), FOLDS, clock=clock).close()
    with closing(open_reader(str(path))) as reader:
        assert compare(reader).different == 0


def test_the_result_can_be_told_as_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(Result(dropped=3)), type=Result).dropped == 3
