"""How long to wait before trying again: longer each time, bounded, out of step with others."""

import random
from collections.abc import Callable

MIN_SECONDS = 0.5
MAX_SECONDS = 30.0


class Backoff:
    """The waits of one party that tries again and again.

    Args:
        min_seconds: the first wait, at most.
        max_seconds: the longest.
        chance: a number between 0 and 1, another each time. Many clients lose a server at the same
            moment; without chance they would all come back at the same moments too.
    """

    def __init__(
        self,
        min_seconds: float = MIN_SECONDS,
        max_seconds: float = MAX_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._min = min_seconds
        self._max = max_seconds
        self._chance = chance
        self._seconds = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has failed since the last success."""
        return not self._seconds

    def after_failure(self, asked_seconds: float = 0) -> float:
        """Return how long to wait now: between half of the longest for this time, and all of it.

        Args:
            asked_seconds: what the other side asked for, which counts up to the longest wait.
        """
        self._seconds = min(max(2 * self._seconds, self._min), self._max)
        return max(min(asked_seconds, self._max), self._seconds * (1 + self._chance()) / 2)

    def after_success(self) -> None:
        """Begin anew."""
        self._seconds = 0.0
