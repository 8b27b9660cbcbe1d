import logging
import threading

import pytest

from eventlog.clock import SystemClock
from eventlog.errors import LogClosedError, LogFullError
from tests.eventlog.helpers import DEADLINE_SECONDS, FakeClock
from tools.upkeep import FIRST_SECONDS, Task, Upkeep


class Counting:
    """A task's work that counts its turns."""

    def __init__(self) -> None:
        self.turns = 0
        self.errors: list[Exception] = []

    def __call__(self, _stop: threading.Event) -> None:
        self.turns += 1
        if self.errors:
            raise self.errors.pop(0)


def test_a_task_has_its_first_turn_soon_and_then_at_its_interval() -> None:
    clock, work = FakeClock(), Counting()
    upkeep = Upkeep([Task("sweep", 3600, work)], clock)
    assert upkeep.run_due() == FIRST_SECONDS
    clock.seconds = FIRST_SECONDS
    assert upkeep.run_due() == 3600
    assert upkeep.run_due() == 3600
    assert work.turns == 1
    clock.seconds += 3600
    upkeep.run_due()
    assert work.turns == 2


def test_a_task_may_have_its_first_turn_at_once() -> None:
    work = Counting()
    upkeep = Upkeep([Task("look", 3600, work, first_seconds=0)], FakeClock())
    assert (upkeep.run_due(), work.turns) == (3600, 1)


def test_the_interval_begins_when_the_turn_ends() -> None:
    clock = FakeClock()

    def slow(_stop: threading.Event) -> None:
        clock.seconds += 100

    upkeep = Upkeep([Task("slow", 10, slow)], clock)
    clock.seconds = 10
    assert upkeep.run_due() == 10


def test_a_task_that_was_asked_for_runs_at_once_also_when_asked_in_its_own_turn() -> None:
    clock = FakeClock()
    turns = []

    def again(_stop: threading.Event) -> None:
        turns.append(1)
        if len(turns) == 1:
            upkeep.ask("again")

    upkeep = Upkeep([Task("again", 3600, again)], clock)
    upkeep.ask("again")
    assert upkeep.run_due() == 0
    assert upkeep.run_due() == 3600
    assert len(turns) == 2


def test_a_failure_is_told_once_and_shown_until_it_succeeds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, work, other = FakeClock(), Counting(), Counting()
    work.errors = [LogFullError("x.db: full"), LogFullError("x.db: full"), ZeroDivisionError("0")]
    upkeep = Upkeep([Task("sweep", 1, work), Task("other", 1, other)], clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            clock.seconds += 1
            upkeep.run_due()
    assert upkeep.problems == ["sweep: x.db: full"]
    assert [record.getMessage() for record in caplog.records] == ["sweep: x.db: full"]
    clock.seconds += 1
    upkeep.run_due()
    assert upkeep.problems == ["sweep: ZeroDivisionError: 0; see the server's log"]
    clock.seconds += 1
    upkeep.run_due()
    assert (upkeep.problems, other.turns) == ([], 4)


def test_a_closed_log_is_no_problem_of_the_task() -> None:
    clock, work = FakeClock(), Counting()
    work.errors = [LogClosedError("x.db: the log is closed")]
    upkeep = Upkeep([Task("sweep", 1, work)], clock)
    clock.seconds = 1
    upkeep.run_due()
    assert upkeep.problems == []


def test_a_stop_is_told_to_the_task_that_runs_and_ends_the_thread() -> None:
    entered = threading.Event()
    stopped = []

    def patient(stop: threading.Event) -> None:
        entered.set()
        stopped.append(stop.wait(DEADLINE_SECONDS))

    never = Counting()
    upkeep = Upkeep([Task("patient", 0.01, patient), Task("never", 0.01, never)], SystemClock())
    upkeep.start()
    assert entered.wait(DEADLINE_SECONDS)
    upkeep.stop()
    upkeep.join()
    assert (stopped, never.turns) == ([True], 0)


def test_what_was_never_started_can_be_stopped() -> None:
    upkeep = Upkeep([], SystemClock())
    assert upkeep.run_due() > 0
    upkeep.stop()
    upkeep.join()
