"""The log: group commit, durability before telling, and what a failure may take with it."""

import threading
from concurrent.futures import Future
from pathlib import Path

import apsw
import pytest

from eventlog.connection import open_reader, open_writer
from eventlog.errors import LogClosedError, LogError, LogUnavailableError
from eventlog.events import Created, Removed
from eventlog.log import QUEUE_MAX, Draft, Log, Transaction
from eventlog.schema import batches
from projections.replay import FOLDS
from tests.eventlog.helpers import (
    DEADLINE_SECONDS,
    FakeClock,
    assert_sound,
    created,
    file_state,
    files,
    positions,
    root_state,
)


class Gate:
    """Holds the writer inside a job, so that what is submitted meanwhile makes one group."""

    def __init__(self, log: Log) -> None:
        self._open = threading.Event()
        entered = threading.Event()

        def hold(_transaction: Transaction) -> None:
            entered.set()
            assert self._open.wait(DEADLINE_SECONDS)

        self.future = log.submit(hold)
        assert entered.wait(DEADLINE_SECONDS)

    def open(self) -> None:
        self._open.set()


def test_positions_begin_at_one_and_have_no_gaps(log: Log) -> None:
    assert log.append([created(root_state())]) == 1
    assert log.append(files(3)) == 2
    assert log.head == 4


def test_an_empty_append_changes_nothing(log: Log) -> None:
    assert log.append([]) == 1
    assert log.head == 0


def test_a_created_event_is_its_own_node_and_others_keep_theirs(log: Log, path: Path) -> None:
    log.append([created(root_state())])
    log.append([*files(1), Draft(1, Removed("", "root_removed", 0, b"root", 0o40755))])
    reader = open_reader(str(path))
    nodes = list(reader.execute("select position, node from events order by position"))
    assert nodes == [(1, 1), (2, 2), (3, 1)]
    reader.close()


def test_many_threads_get_contiguous_positions_each(log: Log, path: Path) -> None:
    taken: list[range] = []

    def work(thread: int) -> None:
        for batch in range(20):
            drafts = files(1 + (thread + batch) % 4, f"{thread}-{batch}-")
            first = log.append(drafts)
            taken.append(range(first, first + len(drafts)))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n for each in taken for n in each) == list(range(1, log.head + 1))
    reader = open_reader(str(path))
    stored = {r.position: r for batch in batches(reader, 0) for r in batch}
    for each in taken:
        names = {_prefix(stored[position].event) for position in each}
        assert len(names) == 1
    reader.close()


def _prefix(event: object) -> bytes:
    assert isinstance(event, Created)
    return event.state.name.rpartition(b"-")[0]


def test_what_waits_together_is_committed_together(log: Log, path: Path) -> None:
    reader = open_reader(str(path))
    gate = Gate(log)
    futures = [log.submit(lambda t: t.append(files(1))) for _ in range(10)]
    assert not any(future.done() for future in futures)
    before = reader.data_version()
    gate.open()
    assert [future.result(DEADLINE_SECONDS) for future in futures] == list(range(1, 11))
    assert len({row[0] for row in reader.execute("select time_us from events")}) == 1
    assert reader.data_version() != before
    reader.close()


def test_a_group_that_is_old_is_committed_though_more_wait(log: Log, clock: FakeClock) -> None:
    heads: list[int] = []
    gate = Gate(log)

    def grow_old(transaction: Transaction) -> int:
        clock.seconds += 1
        return transaction.append(files(1))

    first = log.submit(grow_old)
    first.add_done_callback(lambda _: heads.append(log.head))
    second = log.submit(grow_old)
    second.add_done_callback(lambda _: heads.append(log.head))
    gate.open()
    assert [first.result(DEADLINE_SECONDS), second.result(DEADLINE_SECONDS)] == [1, 2]
    assert heads == [1, 2]


def test_a_position_is_told_only_when_another_connection_can_read_it(log: Log, path: Path) -> None:
    seen: list[list[int]] = []

    def look(future: Future[int]) -> None:
        reader = open_reader(str(path))
        seen.append(positions(reader))
        reader.close()
        assert future.result() in seen[-1]

    for _ in range(5):
        future = log.submit(lambda t: t.append(files(2)))
        future.add_done_callback(look)
        future.result(DEADLINE_SECONDS)
    log.call(lambda _: None)  # the callbacks before it are through
    assert seen == [list(range(1, 2 * n + 1)) for n in range(1, 6)]


def test_a_job_sees_what_jobs_before_it_in_the_group_appended(log: Log) -> None:
    gate = Gate(log)
    first = log.submit(lambda t: t.append([created(root_state())]))
    count = log.submit(lambda t: t.connection.execute("select count(*) from nodes").get)
    gate.open()
    assert (first.result(DEADLINE_SECONDS), count.result(DEADLINE_SECONDS)) == (1, 1)


def test_a_failing_job_undoes_only_itself(log: Log, path: Path) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.append(files(5, "lost"))
        transaction.set_meta("lost", "yes")
        raise ValueError("no")

    gate = Gate(log)
    before = log.submit(lambda t: t.append([created(root_state())]))
    failing = log.submit(fail)
    after = log.submit(lambda t: t.append(files(1, "kept")))
    gate.open()
    with pytest.raises(ValueError, match="no"):
        failing.result(DEADLINE_SECONDS)
    assert (before.result(DEADLINE_SECONDS), after.result(DEADLINE_SECONDS)) == (1, 2)
    assert log.call(lambda t: t.meta("lost")) is None
    reader = open_reader(str(path))
    assert positions(reader) == [1, 2]
    reader.close()


def test_positions_of_a_failed_job_are_given_to_the_next(log: Log) -> None:
    def fail(transaction: Transaction) -> None:
        assert transaction.append(files(5)) == 1
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        log.call(fail)
    assert log.append(files(1)) == 1


def test_a_job_that_exits_does_not_take_the_writer_with_it(log: Log) -> None:
    def leave(_transaction: Transaction) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        log.submit(leave).result(DEADLINE_SECONDS)
    assert log.append(files(1)) == 1


def test_a_cancelled_job_is_not_run_and_harms_nobody(log: Log) -> None:
    gate = Gate(log)
    cancelled = log.submit(lambda t: t.append(files(1)))
    other = log.submit(lambda t: t.append(files(1)))
    assert cancelled.cancel()
    gate.open()
    assert other.result(DEADLINE_SECONDS) == 1
    assert log.append(files(1)) == 2


def test_a_running_job_cannot_be_cancelled(log: Log) -> None:
    gate = Gate(log)
    assert not gate.future.cancel()
    gate.open()
    gate.future.result(DEADLINE_SECONDS)
    assert log.append(files(1)) == 1


def test_a_state_that_cannot_be_stored_fails_only_its_job(log: Log) -> None:
    with pytest.raises(OverflowError):
        log.append([created(file_state(ino=2**64))])
    assert log.append(files(1)) == 1


def test_closing_runs_what_was_submitted(path: Path) -> None:
    log = Log(str(path), FOLDS)
    gate = Gate(log)
    futures = [log.submit(lambda t: t.append(files(1))) for _ in range(50)]
    gate.open()
    log.close()
    assert [future.result(0) for future in futures] == list(range(1, 51))
    assert_sound(path)


def test_a_closed_log_refuses_in_one_line(log: Log, path: Path) -> None:
    log.close()
    log.close()
    with pytest.raises(LogClosedError, match=f"^{path}: the log is closed$"):
        log.append(files(1))


def test_closing_with_a_full_queue_and_blocked_submitters_resolves_every_future(
    path: Path,
) -> None:
    log = Log(str(path), FOLDS)
    gate = Gate(log)
    futures: list[Future[int]] = [
        log.submit(lambda t: t.append(files(1))) for _ in range(QUEUE_MAX)
    ]
    late: list[Future[int]] = []

    def push() -> None:
        late.extend(log.submit(lambda t: t.append(files(1))) for _ in range(5))

    pushers = [threading.Thread(target=push) for _ in range(8)]
    closer = threading.Thread(target=log.close)
    for thread in [*pushers, closer]:
        thread.start()
    gate.open()
    for thread in [*pushers, closer]:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
    told = [future.result(0) for future in futures]
    for future in late:
        error = future.exception(DEADLINE_SECONDS)
        assert error is None or isinstance(error, LogClosedError)
        told += [] if error else [future.result(0)]
    assert len(late) == 40
    assert sorted(told) == list(range(1, log.head + 1))
    assert_sound(path)


def test_a_restart_goes_on_where_the_last_ended(path: Path) -> None:
    first = Log(str(path), FOLDS)
    first.append(files(3))
    first.close()
    second = Log(str(path), FOLDS)
    assert (second.head, second.log_id, second.floor) == (3, first.log_id, 0)
    assert second.ids.to_id(2) == first.ids.to_id(2)
    assert second.append(files(1)) == 4
    second.close()
    assert_sound(path)


def test_positions_rise_though_the_newest_rows_are_gone(path: Path) -> None:
    log = Log(str(path), FOLDS)
    log.append(files(3))
    log.close()
    connection = open_writer(str(path))
    connection.execute("delete from events; delete from nodes").fetchall()
    connection.close()
    log = Log(str(path), FOLDS)
    assert log.head == 3
    assert log.append(files(1)) == 4
    log.close()


def test_times_never_fall_when_the_clock_goes_back(path: Path, clock: FakeClock) -> None:
    times = []
    for step in (10, -1_000_000, 5):
        log = Log(str(path), FOLDS, clock=clock)
        for _ in range(2):
            clock.us += step
            log.append(files(1))
            times.append(log.call(lambda t: t.time_us))
        log.close()
    assert times == sorted(times)
    assert_sound(path)


def test_another_writer_that_goes_behind_its_back_fails_the_append_and_no_more(
    log: Log, path: Path
) -> None:
    log.append(files(1))
    intruder = apsw.Connection(str(path))
    intruder.execute("insert into events values (2, 2, 0, x'00')")
    with pytest.raises(LogUnavailableError, match=f"^{path}: .*UNIQUE"):
        log.append(files(1))
    intruder.execute("delete from events where position = 2")
    intruder.close()
    assert log.append(files(1)) == 2


def test_a_fold_that_fails_undoes_the_events_with_it(path: Path) -> None:
    class Choosy:
        name = "choosy"
        version = 1
        schema = "create table choosy (n integer)"
        tables: tuple[str, ...] = ("choosy",)

        def apply(self, _connection: apsw.Connection, records: object) -> None:
            raise ValueError(f"will not have {records}")

    log = Log(str(path), [Choosy()])
    with pytest.raises(ValueError, match="will not have"):
        log.append(files(1))
    assert log.head == 0
    log.close()


def test_an_unexpected_error_of_the_writer_is_told_to_whoever_waits(path: Path) -> None:
    class BrokenClock(FakeClock):
        def now_us(self) -> int:
            raise ArithmeticError("the clock is broken")

    log = Log(str(path), FOLDS, clock=BrokenClock())
    with pytest.raises(ArithmeticError, match="the clock is broken"):
        log.submit(lambda t: t.append(files(1))).result(DEADLINE_SECONDS)
    log.close()
    assert isinstance(log.failure, LogError)
    with pytest.raises(LogError, match=r"clock is broken.*stopped"):
        log.append(files(1))


def test_a_closed_log_lets_the_next_one_have_the_file_though_opening_failed(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(LogError):
        Log(str(path), FOLDS)
    path.unlink()
    log = Log(str(path), FOLDS)
    log.close()


def test_meta_is_kept(path: Path) -> None:
    log = Log(str(path), FOLDS)
    log.call(lambda t: t.set_meta("scanned", "1"))
    log.close()
    log = Log(str(path), FOLDS)
    assert log.call(lambda t: t.meta("scanned")) == "1"
    assert log.call(lambda t: t.meta("nothing")) is None
    log.close()
