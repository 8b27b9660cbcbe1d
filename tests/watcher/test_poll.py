import os
import threading
from typing import TYPE_CHECKING

import pytest

from watcher.poll import PollBackend

if TYPE_CHECKING:
    from watcher.backend import Hints


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now_us(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def backend(clock: FakeClock) -> PollBackend:
    return PollBackend(clock)


def test_a_scan_is_asked_for_when_the_interval_has_passed(
    backend: PollBackend, clock: FakeClock
) -> None:
    assert backend.read(0) == ({}, False)
    clock.seconds += 1.9
    assert backend.read(0) == ({}, False)
    clock.seconds += 0.2
    assert backend.read(0) == ({}, True)


def test_the_pause_begins_at_the_end_of_the_scan(backend: PollBackend, clock: FakeClock) -> None:
    clock.seconds += 2
    assert backend.read(0).overflow
    clock.seconds += 1
    backend.scanned(0.1)
    clock.seconds += 1.5
    assert not backend.read(0).overflow
    clock.seconds += 0.6
    assert backend.read(0).overflow


def test_scanning_takes_at_most_a_tenth_of_the_time(backend: PollBackend, clock: FakeClock) -> None:
    backend.scanned(10)
    clock.seconds += 89
    assert not backend.read(0).overflow
    clock.seconds += 1.1
    assert backend.read(0).overflow


def test_a_quick_scan_brings_the_interval_back(backend: PollBackend, clock: FakeClock) -> None:
    backend.scanned(10)
    backend.scanned(0.01)
    clock.seconds += 2
    assert backend.read(0).overflow


def test_an_observer_that_never_says_scanned_is_asked_at_intervals(
    backend: PollBackend, clock: FakeClock
) -> None:
    for _ in range(3):
        clock.seconds += 2
        assert backend.read(0).overflow
        assert not backend.read(0).overflow


def test_closed_it_asks_for_nothing(backend: PollBackend, clock: FakeClock) -> None:
    clock.seconds += 10
    backend.close()
    assert backend.read(60) == ({}, False)


def test_a_wait_ends_at_its_timeout_by_the_clock(clock: FakeClock) -> None:
    backend = PollBackend(clock, interval_seconds=1e6)
    hints: list[Hints] = []
    thread = threading.Thread(target=lambda: hints.append(backend.read(0.02)))
    thread.start()
    while thread.is_alive():
        clock.seconds += 0.01
        thread.join(0.01)
    assert hints == [({}, False)]


def test_no_descriptor_is_kept(backend: PollBackend) -> None:
    fd = os.open("/", os.O_PATH)
    backend.watch(1, fd)
    os.close(fd)
    assert backend.watches() == 1
