"""Time is passed in, so that tests need not wait for it."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the program knows of time."""

    def now_us(self) -> int:
        """Return the time of day, microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back, from an arbitrary start."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now_us(self) -> int:
        """Return the time of day, microseconds since 1970 UTC."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
