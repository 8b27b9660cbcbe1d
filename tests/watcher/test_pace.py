"""When a reader waits for more to be read at once."""

from watcher.pace import WAKES_AT_ONCE, WAKES_PER_SECOND, Pace


def test_what_a_change_brings_is_read_without_delay() -> None:
    pace = Pace(0.0)
    assert [pace.wait_seconds(0.0001 * n) for n in range(WAKES_AT_ONCE)] == [0.0] * WAKES_AT_ONCE


def test_who_is_woken_all_the_time_waits() -> None:
    pace, now, wakes = Pace(0.0), 0.0, 0
    while now < 10:
        now += pace.wait_seconds(now) + 0.0001
        wakes += 1
    assert abs(wakes - WAKES_AT_ONCE - 10 * WAKES_PER_SECOND) < 0.02 * wakes


def test_no_wait_is_long() -> None:
    pace, now, longest = Pace(0.0), 0.0, 0.0
    for _ in range(10_000):
        wait = pace.wait_seconds(now)
        longest = max(longest, wait)
        now += wait
    assert longest <= 1.01 / WAKES_PER_SECOND


def test_after_a_rest_there_is_no_delay() -> None:
    pace = Pace(0.0)
    while not pace.wait_seconds(0.0):
        pass
    assert pace.wait_seconds(1.0) == 0.0
