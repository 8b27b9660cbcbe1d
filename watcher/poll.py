"""Hints without a kernel: every so often, that everything must be looked at.

For network and FUSE filesystems, whose changes made elsewhere no kernel reports, and for machines
whose watches have run out.
"""

import threading

from eventlog.clock import Clock
from watcher.backend import Hints

INTERVAL_SECONDS = 2.0

_SHARE = 10
"""Scanning takes at most one part in so many of the time."""


class PollBackend:
    """A `watcher.backend.Backend` that asks for a scan at intervals.

    Args:
        clock: tells when the next scan is due.
        interval_seconds: pause between the end of a scan and the next.
    """

    name = "poll"

    def __init__(self, clock: Clock, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._pause = interval_seconds
        self._due = clock.monotonic() + interval_seconds
        self._numbers: set[int] = set()
        self._woken = False
        self._closed = False
        self._changed = threading.Condition(threading.Lock())

    def watch(self, number: int, fd: int) -> bool:
        """Remember a directory, of which only the next scan will tell; `fd` is not used."""
        del fd
        new = number not in self._numbers
        self._numbers.add(number)
        return new

    def unwatch(self, number: int) -> None:
        """Forget a directory; unknown numbers are ignored."""
        self._numbers.discard(number)

    def scanned(self, seconds: float) -> None:
        """Say that a scan has just ended, so that the pause before the next one starts now.

        Args:
            seconds: how long it took; the pause is at least nine times that.
        """
        with self._changed:
            self._pause = max(self._interval, seconds * (_SHARE - 1))
            self._due = self._clock.monotonic() + self._pause

    def read(self, timeout_seconds: float) -> Hints:
        """Wait for the next scan to be due, and then report an overflow; see `Backend.read`."""
        until = self._clock.monotonic() + timeout_seconds
        with self._changed:
            while not self._ends_wait(until):
                self._changed.wait(min(self._due, until) - self._clock.monotonic())
            due = not self._closed and self._clock.monotonic() >= self._due
            if due:
                self._due = self._clock.monotonic() + self._pause
            self._woken = False
        return Hints({}, overflow=due)

    def wake(self) -> None:
        """Make a waiting `read`, or the next one, return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def watches(self) -> int:
        """Return how many directories are remembered; the kernel watches none of them."""
        return len(self._numbers)

    def close(self) -> None:
        """Ask for no more scans, and end a waiting `read`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _ends_wait(self, until: float) -> bool:
        now = self._clock.monotonic()
        return self._woken or self._closed or now >= self._due or now >= until
