"""When a root is scanned: when asked, when it is time, and not too often."""

from tests.watcher.rig import FakeClock
from watcher.rounds import (
    BACKOFF_MAX_SECONDS,
    CHECK_SECONDS,
    FULL_MAX_SECONDS,
    TRIM_SECONDS,
    Rounds,
    Shortage,
)

HOUR = 3600.0


def scanned(clock: FakeClock, seconds: float = 1.0) -> Rounds:
    """Return rounds after a first scan."""
    rounds = Rounds(clock, HOUR, 30.0)
    clock.seconds += seconds
    assert rounds.end() == seconds
    return rounds


def scan(rounds: Rounds, clock: FakeClock, seconds: float = 1.0) -> None:
    rounds.begin()
    clock.seconds += seconds
    rounds.end()


def test_nothing_is_due_while_the_first_scan_runs() -> None:
    clock = FakeClock()
    rounds = Rounds(clock, HOUR, 30.0)
    clock.seconds += 10 * HOUR
    assert not rounds.scan_due(limited=False)
    assert rounds.running() == 10 * HOUR


def test_a_scan_is_due_about_once_in_an_interval() -> None:
    clock = FakeClock()
    rounds = scanned(clock)
    clock.seconds += 0.74 * HOUR
    assert not rounds.scan_due(limited=False)
    clock.seconds += 0.52 * HOUR
    assert rounds.scan_due(limited=False)
    scan(rounds, clock)
    assert not rounds.scan_due(limited=False)


def test_scans_are_frequent_while_watches_have_run_out_but_leave_time_for_others() -> None:
    clock = FakeClock()
    rounds = scanned(clock, seconds=1.0)
    clock.seconds += 31.0
    assert not rounds.scan_due(limited=False)
    assert rounds.scan_due(limited=True)
    scan(rounds, clock, seconds=60.0)
    clock.seconds += 500.0
    assert not rounds.scan_due(limited=True)
    clock.seconds += 101.0
    assert rounds.scan_due(limited=True)


def test_a_scan_that_is_wanted_is_due_at_once_and_once() -> None:
    clock = FakeClock()
    rounds = scanned(clock)
    rounds.want("asked for")
    assert rounds.scan_due(limited=False)
    scan(rounds, clock)
    assert not rounds.scan_due(limited=False)


def test_the_first_loss_after_a_calm_time_is_answered_at_once() -> None:
    clock = FakeClock()
    rounds = scanned(clock)
    clock.seconds += BACKOFF_MAX_SECONDS + 1
    rounds.want("hints were lost", hurried=True)
    assert rounds.scan_due(limited=False)


def test_losses_that_come_again_and_again_are_answered_less_and_less_often() -> None:
    clock = FakeClock()
    rounds = scanned(clock)
    pauses = []
    for _ in range(14):
        rounds.want("hints were lost", hurried=True)
        asked = clock.seconds
        while not rounds.scan_due(limited=False):
            clock.seconds += 0.05
        pauses.append(clock.seconds - asked)
        scan(rounds, clock)
    assert pauses == sorted(pauses)
    assert pauses[0] < 0.2
    assert BACKOFF_MAX_SECONDS <= pauses[-1] < BACKOFF_MAX_SECONDS + 0.1


def test_more_losses_before_the_scan_do_not_put_it_off() -> None:
    clock = FakeClock()
    rounds = scanned(clock)
    for _ in range(100):
        rounds.want("hints were lost", hurried=True)
        clock.seconds += 0.01
    assert rounds.scan_due(limited=False)


def put_off(clock: FakeClock) -> Rounds:
    """Return rounds that have lost hints so often that the next scan is a minute away."""
    rounds = scanned(clock)
    for _ in range(14):
        rounds.want("hints were lost", hurried=True)
        scan(rounds, clock)
    rounds.want("hints were lost", hurried=True)
    clock.seconds += 11.0
    assert not rounds.scan_due(limited=False)
    return rounds


def test_who_asks_for_a_scan_does_not_wait_because_hints_were_lost() -> None:
    rounds = put_off(FakeClock())
    rounds.want("polling")
    assert rounds.scan_due(limited=False)


def test_what_is_polled_does_not_wait_because_hints_were_lost() -> None:
    assert put_off(FakeClock()).scan_due(limited=False, polling_seconds=10.0)


def test_a_root_is_checked_now_and_then() -> None:
    clock = FakeClock()
    rounds = Rounds(clock, HOUR, 30.0)
    assert not rounds.check_due()
    clock.seconds += CHECK_SECONDS
    assert rounds.check_due()
    assert not rounds.check_due()


def test_what_is_open_is_closed_once_in_each_quiet_time() -> None:
    clock = FakeClock()
    rounds = Rounds(clock, HOUR, 30.0)
    assert not rounds.trim_due(idle=False)
    clock.seconds += TRIM_SECONDS + 1
    assert rounds.trim_due(idle=True)
    assert not rounds.trim_due(idle=True)
    assert not rounds.trim_due(idle=False)
    assert not rounds.trim_due(idle=True)
    clock.seconds += TRIM_SECONDS + 1
    assert rounds.trim_due(idle=True)


def test_in_quiet_hours_only_what_is_needed_is_due() -> None:
    clock = FakeClock()
    rounds = scanned(clock)
    clock.seconds += 100 * HOUR
    assert not rounds.scan_due(limited=False, quiet=True)
    assert rounds.scan_due(limited=True, quiet=True)
    scan(rounds, clock)
    clock.seconds += 100 * HOUR
    rounds.want("asked for")
    assert rounds.scan_due(limited=False, quiet=True)
    scan(rounds, clock)
    clock.seconds += 100 * HOUR
    assert rounds.scan_due(limited=False)


def test_where_others_write_unnoticed_scans_are_frequent() -> None:
    clock = FakeClock()
    rounds = scanned(clock, seconds=0.5)
    clock.seconds += 9.0
    assert not rounds.scan_due(limited=False, polling_seconds=10.0)
    clock.seconds += 2.0
    assert rounds.scan_due(limited=False, polling_seconds=10.0, quiet=True)


def test_on_a_full_disk_attempts_become_rarer_until_one_succeeds() -> None:
    clock = FakeClock()
    shortage = Shortage(clock)
    assert (shortage.goes_on, shortage.pauses) == (False, False)
    pauses = []
    for _ in range(8):
        shortage.fail()
        began = clock.seconds
        while shortage.pauses:
            clock.seconds += CHECK_SECONDS
        pauses.append(clock.seconds - began)
    assert pauses == [1, 2, 4, 8, 16, FULL_MAX_SECONDS, FULL_MAX_SECONDS, FULL_MAX_SECONDS]
    assert (shortage.goes_on, shortage.pauses) == (True, False)
    shortage.end()
    assert (shortage.goes_on, shortage.pauses) == (False, False)
    shortage.fail()
    clock.seconds += CHECK_SECONDS
    assert (shortage.goes_on, shortage.pauses) == (True, False)
