"""Has threads that take turns share a processor, for as long as many small requests come.

Only one thread at a time has the interpreter. Whoever lets go of it for a system call, and finds it
taken afterwards, sleeps and must be woken; across processors that costs more than most calls do.
On one processor whoever runs goes on running, and mostly finds the interpreter free. Measured with
eight clients that store files of 1 KiB: 35 sleeps for each without, 5 with it, and twice the rate.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from eventlog.clock import Clock

RENEW_SECONDS: Final = 0.25
"""How often the processor is chosen anew, because others may use it."""

REST_SECONDS: Final = 0.25
"""Without requests for so long, the threads go where they like again."""

_BETTER: Final = 0.2
"""Share of its time that another processor must be freer for the threads to move there."""

_STAT: Final = Path("/proc/stat")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")

_log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """What processors have done.

    Attributes:
        at: when, seconds of a clock that never goes back.
        busy: seconds that each was, by number.
        own: seconds of these that this process used.
    """

    at: float
    busy: dict[int, float]
    own: float


def sample(now: float, text: str, own: float) -> Sample:
    """Read what processors have done; see proc_stat(5).

    Args:
        now: seconds of a clock that never goes back.
        text: of the pseudo file.
        own: seconds of processors that this process has used.
    """
    busy: dict[int, float] = {}
    for line in text.splitlines():
        name, *counts = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _waiting, *interrupts = map(int, counts[:8])
            ticks = user + nice + system + sum(interrupts)
            busy[int(name[3:])] = ticks / _TICKS_PER_SECOND
    return Sample(now, busy, own)


def choose(before: Sample, after: Sample, allowed: set[int], current: int | None) -> int | None:
    """Choose the processor that others use least.

    Args:
        before: what they had done some time ago.
        after: what they have done by now.
        allowed: those that may be chosen.
        current: where the threads are; None when they are where they like.

    Returns:
        Its number; None when nothing is known of any.
    """
    others = {
        number: after.busy[number] - before.busy[number]
        for number in allowed & after.busy.keys() & before.busy.keys()
    }
    if current in others:
        others[current] -= after.own - before.own + _BETTER * (after.at - before.at)
    return min(others, key=lambda number: (others[number], number), default=None)


class Huddle:
    """Keeps threads together. Requests are noted by the event loop's thread only.

    Args:
        joins: which threads do.
        clock: time.

    Attributes:
        processor: where they are; None when they are where they like.
    """

    def __init__(self, joins: Callable[[threading.Thread], bool], clock: Clock) -> None:
        self._joins = joins
        self._clock = clock
        self._allowed = os.sched_getaffinity(0)
        self._is_possible = len(self._allowed) > 1
        self._lock = threading.Lock()
        self._requests = 0
        self._last = 0.0
        self._sample: Sample | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.processor: int | None = None

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Note a small request for as long as it lasts; several at a time keep threads together."""
        self._requests += 1
        if self._requests > 1:
            self._try()
        try:
            yield
        finally:
            self._requests -= 1
            self._last = self._clock.monotonic()

    def close(self) -> None:
        """Let the threads go where they like, for good; any thread may call it."""
        with self._lock:
            self._is_possible = False
            self._let_go()

    def _try(self) -> None:
        with self._lock:
            if not self._is_possible:
                return
            try:
                self._gather()
            except OSError as error:  # a sandbox may forbid it, or the machine have changed
                _log.warning("threads cannot share a processor, uploads are slower: %s", error)
                self._is_possible = False
                self._let_go()

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.processor is not None:
            self.processor = None
            with contextlib.suppress(PermissionError):  # then none was ever put anywhere
                self._spread()

    def _gather(self) -> None:
        now = self._clock.monotonic()
        if self._sample is not None and now - self._sample.at < RENEW_SECONDS:
            return
        before, self._sample = self._sample, self._take_sample(now)
        if before is None or now - before.at > 2 * RENEW_SECONDS:
            return  # it says nothing of how things are now
        self.processor = choose(before, self._sample, self._allowed, self.processor)
        self._spread()  # also those that have come since, and the children of those that take part
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REST_SECONDS, self._rest)

    def _rest(self) -> None:
        with self._lock:
            self._timer = None
            if self._clock.monotonic() - self._last >= REST_SECONDS and not self._requests:
                self._let_go()
            else:
                self._timer = asyncio.get_running_loop().call_later(REST_SECONDS, self._rest)

    def _take_sample(self, now: float) -> Sample:
        times = os.times()
        return sample(now, _STAT.read_text("ascii"), times.user + times.system)

    def _spread(self) -> None:
        together = self._allowed if self.processor is None else {self.processor}
        for thread in threading.enumerate():
            processors = together if self._joins(thread) else self._allowed
            if thread.native_id is not None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.sched_setaffinity(thread.native_id, processors)
