"""What becomes of a file on which a worker died. Pure."""

import signal

from watcher.metadata.process import Death
from watcher.metadata.task import Limits, Outcome, Status, without_result
from watcher.metadata.wire import Stage, Work

_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP})
"""Sent by an operator, or by the kernel when the machine has no memory left: perhaps not the
fault of the file."""
_DEATHS_MAX = 2
_LOST = {Stage.TYPE: "type unknown", Stage.MEDIA: "dimensions unknown", Stage.READING: "not read"}


def after_death(work: Work, death: Death, limits: Limits) -> Work | Outcome:
    """Decide about the file on which a worker died.

    Args:
        work: what it was doing.
        death: how it died.
        limits: those it had.

    Returns:
        What to try next: the same once more if the file may be innocent, else without the stage
        that killed; or, if only reading was left to leave out, the outcome.
    """
    if work.deaths + 1 < _DEATHS_MAX and _may_be_innocent(death):
        return Work(work.task, work.last_stage, work.problem, work.deaths + 1)
    problem = f"{_LOST[death.stage]}: {_explain(death, limits)}"
    if death.stage == Stage.READING:
        return without_result(work.task, Status.FAILED, problem)
    return Work(work.task, Stage(death.stage - 1), problem, 0)


def _may_be_innocent(death: Death) -> bool:
    return death.signal in _FROM_OUTSIDE or death.stage == Stage.READING


def _explain(death: Death, limits: Limits) -> str:
    if death.signal == signal.SIGALRM:
        return f"the library took more than {limits.parse_seconds:g} s"
    return f"the worker process died of it ({death.cause})"
