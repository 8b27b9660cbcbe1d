"""What a server does to itself from time to time: compaction, snapshots, and their like.

One thread does all of it, one task after the other, so that no two compete for the disk. A task
that fails is tried again at its next time, and its failure is shown until it succeeds.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from eventlog.clock import Clock
from eventlog.errors import LogClosedError, LogError
from tools.errors import OperatorError

FIRST_SECONDS = 60.0
"""The longest that a task waits for its first turn: a server that is restarted every night has its
turn too, but the start is not disturbed."""

LOOK_SECONDS = 1.0
"""How often the thread looks whether a task was asked for."""

_log = logging.getLogger("nasfeed.upkeep")


class Task(NamedTuple):
    """Something to be done again and again.

    Attributes:
        name: for messages, and to ask for it.
        interval_seconds: between the end of one turn and the begin of the next.
        work: does it; gets an event that is set when the server stops, and must then end soon.
        first_seconds: the first turn is after so long, or after the interval if that is less.
    """

    name: str
    interval_seconds: float
    work: Callable[[threading.Event], object]
    first_seconds: float = FIRST_SECONDS


class Upkeep:
    """Runs tasks in a thread of its own.

    Args:
        tasks: all that there is to do; those that are due together run in this order.
        clock: time.
    """

    def __init__(self, tasks: Sequence[Task], clock: Clock) -> None:
        self._tasks = tuple(tasks)
        self._clock = clock
        now = clock.monotonic()
        self._due = {t.name: now + min(t.interval_seconds, t.first_seconds) for t in tasks}
        self._asked: set[str] = set()
        self._failed: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    @property
    def problems(self) -> list[str]:
        """What failed in its last turn, one line each."""
        return [f"{name}: {problem}" for name, problem in sorted(self._failed.items())]

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end, if it was ever started."""
        if self._thread.ident is not None:
            self._thread.join()

    def ask(self, name: str) -> None:
        """Have a task run soon; any thread may ask."""
        self._asked.add(name)

    def run_due(self) -> float:
        """Run the tasks that are due.

        Returns:
            Seconds until the next one is.
        """
        for task in self._tasks:
            if self._is_due(task) and not self._stopping.is_set():
                self._asked.discard(task.name)  # before the work: what is asked meanwhile counts
                self._attempt(task)
                self._due[task.name] = self._clock.monotonic() + task.interval_seconds
        if self._asked:
            return 0.0
        soonest = min(self._due.values(), default=float("inf"))
        return max(0.0, soonest - self._clock.monotonic())

    def _is_due(self, task: Task) -> bool:
        return task.name in self._asked or self._due[task.name] <= self._clock.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(min(self.run_due(), LOOK_SECONDS)):
            pass

    def _attempt(self, task: Task) -> None:
        try:
            task.work(self._stopping)
        except LogClosedError:
            return  # the server stops, or has said why it must
        except (LogError, OperatorError, OSError) as error:
            self._fail(task, str(error))
        except Exception as error:  # noqa: BLE001 - one task must not end the others
            _log.exception("%s failed", task.name)
            self._fail(task, f"{type(error).__name__}: {error}; see the server's log")
        else:
            self._failed.pop(task.name, None)

    def _fail(self, task: Task, problem: str) -> None:
        if self._failed.get(task.name) != problem:
            _log.warning("%s: %s", task.name, problem)
        self._failed[task.name] = problem
