import signal

import pytest

from watcher.metadata.blame import after_death
from watcher.metadata.process import Death
from watcher.metadata.task import Limits, Outcome, Status, Task
from watcher.metadata.wire import Stage, Work

_TASK = Task(9, b"/x", 1, 2, 3, 4, want_hash=True)


def _death(stage: Stage, number: int) -> Death:
    cause = signal.Signals(number).name if number else "exit status 1"
    return Death(
        ready=True, signal=number, cause=cause, stage=stage, culprit=Work(_TASK), others=[]
    )


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGALRM, 0])
def test_dimensions_that_kill_are_left_out(number: int) -> None:
    verdict = after_death(Work(_TASK), _death(Stage.MEDIA, number), Limits())
    assert isinstance(verdict, Work)
    assert verdict.last_stage == Stage.TYPE
    assert verdict.problem.startswith("dimensions unknown: ")


def test_a_type_that_kills_is_left_out() -> None:
    verdict = after_death(Work(_TASK), _death(Stage.TYPE, signal.SIGSEGV), Limits())
    assert isinstance(verdict, Work)
    assert verdict.last_stage == Stage.READING
    assert verdict.problem == "type unknown: the worker process died of it (SIGSEGV)"


def test_a_kill_from_outside_is_no_proof() -> None:
    first = after_death(Work(_TASK), _death(Stage.MEDIA, signal.SIGKILL), Limits())
    assert first == Work(_TASK, deaths=1)
    second = after_death(first, _death(Stage.MEDIA, signal.SIGKILL), Limits())
    assert isinstance(second, Work)
    assert second.last_stage == Stage.TYPE


def test_a_file_that_cannot_even_be_read_is_given_up_at_the_second_death() -> None:
    death = _death(Stage.READING, signal.SIGBUS)
    first = after_death(Work(_TASK), death, Limits())
    assert isinstance(first, Work)
    second = after_death(first, death, Limits())
    assert isinstance(second, Outcome)
    assert (second.number, second.status) == (9, Status.FAILED)
    assert second.problem == "not read: the worker process died of it (SIGBUS)"


def test_the_alarm_is_explained() -> None:
    verdict = after_death(Work(_TASK), _death(Stage.MEDIA, signal.SIGALRM), Limits(3.5))
    assert isinstance(verdict, Work)
    assert verdict.problem == "dimensions unknown: the library took more than 3.5 s"
