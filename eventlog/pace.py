"""Runs long work on the writer in steps so short that nobody has to wait for it.

The size of a step follows what the last one took. What is measured is what others wait for: from
the begin of the job until its transaction is on the disk.
"""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from eventlog.clock import Clock
from eventlog.log import Log, Transaction

T = TypeVar("T")

HOLD_MAX_SECONDS: Final = 0.05
"""The writer is not held longer, unless the disk itself needs longer for the least of steps."""

WORK_SECONDS: Final = 0.006
"""What a step may work; the rest is for the sync, whose length nobody knows before."""

SIZE_MIN: Final = 4
"""Of a long list of free pages, even a few take milliseconds to give back."""

SIZE_MAX: Final = 4_000


class Pace:
    """Steps of one piece of work.

    Args:
        log: whose writer does it.
        clock: time.
        stop: when set, no further step should be asked for; also ends a rest.
        rest: seconds to rest for each second of holding the writer; 0 when nobody else wants it.
        size_max: the most that a step may do.

    Attributes:
        size: how much the next step should do, in rows or pages.
        longest_seconds: the longest that the writer was held.
        steps: how many there were.
    """

    def __init__(
        self,
        log: Log,
        clock: Clock,
        stop: threading.Event,
        rest: float,
        size_max: int = SIZE_MAX,
    ) -> None:
        self.size = SIZE_MIN
        self.longest_seconds = 0.0
        self.steps = 0
        self.log = log
        self._clock = clock
        self._stop = stop
        self._rest = rest
        self._size_max = size_max

    @property
    def is_stopped(self) -> bool:
        """Whether the work should end here, to be gone on with another time."""
        return self._stop.is_set()

    def run(self, step: Callable[[Transaction], T]) -> T:
        """Run a step on the writer, wait until it is on the disk, then rest.

        Args:
            step: a job; what it did is of about `size`.

        Returns:
            Its result.

        Raises:
            LogError: it could not be stored; nothing of the step was kept.
        """
        times: list[float] = []

        def job(transaction: Transaction) -> T:
            times.append(self._clock.monotonic())
            result = step(transaction)
            times.append(self._clock.monotonic())
            return result

        future = self.log.submit(job, frees=True)
        future.add_done_callback(lambda _: times.append(self._clock.monotonic()))
        result = future.result()
        now = self._clock.monotonic()  # the callback may still be on its way
        held = (times[2] if len(times) > 2 else now) - times[0]  # noqa: PLR2004 - begin, end, stored
        self._adapt(times[1] - times[0], held)
        self._stop.wait(held * self._rest)
        return result

    def _adapt(self, worked: float, held: float) -> None:
        self.steps += 1
        self.longest_seconds = max(self.longest_seconds, held)
        if worked > WORK_SECONDS or held > HOLD_MAX_SECONDS / 2:
            self.size = max(SIZE_MIN, self.size // 2)
        elif worked < WORK_SECONDS / 2 and held < HOLD_MAX_SECONDS / 4:
            self.size = min(self._size_max, self.size * 2)
