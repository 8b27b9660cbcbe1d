"""When a reader that is woken all the time had better wait a moment. Pure: time is passed in."""

from typing import Final

WAKES_PER_SECOND: Final = 200
WAKES_AT_ONCE: Final = 30
"""What a change or a few bring is read without delay."""


class Pace:
    """Counts how often a reader is woken.

    A mark on a whole filesystem tells of all that is done there, also by others and elsewhere.
    To read each event by itself costs far more than the events: every wake-up takes the
    interpreter from another thread, which then waits to have it back.

    Args:
        now: seconds of a clock that never goes back.
        per_second: how often it may be woken all the time.
    """

    def __init__(self, now: float, per_second: float = WAKES_PER_SECOND) -> None:
        self._per_second = per_second
        self._left = float(WAKES_AT_ONCE)
        self._at = now

    def wait_seconds(self, now: float) -> float:
        """Return how long to wait after having been woken, so that more is there to be read.

        Args:
            now: seconds of the same clock.
        """
        gained = (now - self._at) * self._per_second
        self._left, self._at = min(float(WAKES_AT_ONCE), self._left + gained) - 1, now
        return max(0.0, -self._left / self._per_second)
