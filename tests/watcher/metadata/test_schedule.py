from watcher.metadata.schedule import (
    AHEAD_BYTES_MAX,
    BATCH_BYTES_MAX,
    BATCH_FILES_MAX,
    LARGE_BYTES,
    Schedule,
)
from watcher.metadata.task import Task
from watcher.metadata.wire import Work


def _work(number: int, size: int = 100, deaths: int = 0, *, want_hash: bool = True) -> Work:
    return Work(Task(number, b"/x", 1, size, 1, 1, want_hash), deaths=deaths)


def _numbers(batch: list[Work]) -> list[int]:
    return [work.task.number for work in batch]


def test_small_files_travel_together() -> None:
    schedule = Schedule(1)
    schedule.add(_work(number) for number in range(100))
    assert _numbers(schedule.next_batch([], 0)) == list(range(BATCH_FILES_MAX))
    assert schedule.waiting == 100 - BATCH_FILES_MAX


def test_few_files_are_shared_among_the_workers() -> None:
    schedule = Schedule(4)
    schedule.add(_work(number) for number in range(40))
    assert len(schedule.next_batch([], 0)) == 10


def test_a_batch_ends_when_it_has_enough_bytes() -> None:
    schedule = Schedule(1)
    schedule.add(_work(number, BATCH_BYTES_MAX // 2) for number in range(5))
    assert _numbers(schedule.next_batch([], 0)) == [0, 1]


def test_a_file_of_a_batch_s_size_goes_alone() -> None:
    schedule = Schedule(1)
    schedule.add([_work(0), _work(1, BATCH_BYTES_MAX), _work(2)])
    assert _numbers(schedule.next_batch([], 0)) == [0]
    assert _numbers(schedule.next_batch([], 0)) == [1]
    assert _numbers(schedule.next_batch([], 0)) == [2]


def test_nothing_is_put_behind_much_reading() -> None:
    schedule = Schedule(1)
    schedule.add([_work(1)])
    assert schedule.next_batch([_work(0, AHEAD_BYTES_MAX + 1)], 0) == []
    assert _numbers(schedule.next_batch([_work(0)], 0)) == [1]


def test_a_worker_has_at_most_two_batches() -> None:
    schedule = Schedule(1)
    schedule.add([_work(1)])
    ahead = [_work(number) for number in range(BATCH_FILES_MAX + 1)]
    assert schedule.next_batch(ahead, 0) == []


def test_one_worker_is_left_for_small_files() -> None:
    schedule = Schedule(2)
    schedule.add([_work(0, LARGE_BYTES), _work(1, LARGE_BYTES), _work(2)])
    assert _numbers(schedule.next_batch([], 0)) == [0]
    assert _numbers(schedule.next_batch([], 1)) == [2]
    assert schedule.next_batch([], 1) == []
    assert _numbers(schedule.next_batch([], 0)) == [1]


def test_a_single_worker_takes_large_files_too() -> None:
    schedule = Schedule(1)
    schedule.add([_work(0, LARGE_BYTES)])
    assert _numbers(schedule.next_batch([], 0)) == [0]


def test_a_large_file_that_is_not_hashed_is_small() -> None:
    schedule = Schedule(1)
    schedule.add([_work(0, LARGE_BYTES, want_hash=False), _work(1)])
    assert _numbers(schedule.next_batch([], 0)) == [0, 1]


def test_a_file_that_killed_goes_alone() -> None:
    schedule = Schedule(1)
    schedule.add([_work(1)])
    schedule.put_back([_work(0, deaths=1)])
    batch = schedule.next_batch([], 0)
    assert _numbers(batch) == [0]
    assert schedule.next_batch(batch, 0) == []


def test_what_is_put_back_comes_first_in_its_order() -> None:
    schedule = Schedule(1)
    schedule.add([_work(3)])
    schedule.put_back([_work(1), _work(2)])
    assert _numbers(schedule.next_batch([], 0)) == [1, 2, 3]
