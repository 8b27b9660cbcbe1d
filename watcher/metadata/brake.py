"""Holds reading back to a rate, so that others get something from the disk."""

import threading
from collections.abc import Callable
from time import monotonic

_AHEAD_SECONDS = 0.05
"""Shorter waits are saved up: they would take longer than they are meant to."""


class Brake:
    """Waits after each read until it was slow enough.

    Args:
        bytes_per_second: the greatest rate; 0: any.
        now: seconds that never go back.
        wait: waits for some seconds; None: really.
    """

    def __init__(
        self,
        bytes_per_second: float = 0,
        now: Callable[[], float] = monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._rate = bytes_per_second
        self._now = now
        self._wait = wait or threading.Event().wait
        self._due = now()

    def hold(self, count: int) -> None:
        """Wait as long as so many bytes should have taken."""
        if not self._rate:
            return
        now = self._now()
        self._due = max(self._due, now) + count / self._rate
        if self._due - now > _AHEAD_SECONDS:
            self._wait(self._due - now)
