"""When a root is scanned, checked, and left in peace. Pure but for its clock and its dice."""

import math
import random

from eventlog.clock import Clock

CHECK_SECONDS = 1.0
"""How often a root is looked at, whether it is still there or there again."""

TRIM_SECONDS = 1.0
"""Quiet time after which no directory is kept open, so that disks can be unmounted."""

FULL_MAX_SECONDS = 30.0
"""The longest pause between two attempts while the disk of the log is full."""

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_MAX_SECONDS = 60.0
"""Pause before a scan that follows too soon on one that was asked for by lost hints."""


class Rounds:
    """When the root is scanned, checked, and left in peace.

    It begins when the first scan does.

    Attributes:
        reason: why a scan is wanted, or "".
        begun: number of the scan that was begun last, from 1.
        ended: number of the scan that ended last, or 0.
    """

    def __init__(self, clock: Clock, rescan_seconds: float, limited_rescan_seconds: float) -> None:
        self.reason = ""
        self.begun = 1
        self.ended = 0
        self._is_owed = False
        self._pays = True
        self._clock = clock
        self._rescan_seconds = rescan_seconds
        self._limited_rescan_seconds = limited_rescan_seconds
        self._began: float = clock.monotonic()
        self._ended: float | None = None
        self._not_before = 0.0
        self._pause = 0.0
        self._checked = clock.monotonic()
        self._worked = clock.monotonic()
        self._trimmed = False
        self._jitter = 1.0

    @property
    def is_owed(self) -> bool:
        """Whether something happened that only a scan, to come or in progress, can find."""
        return self._is_owed or self._pays

    def want(self, reason: str, *, hurried: bool = False, owed: bool = False) -> None:
        """Ask for a scan.

        Args:
            reason: for the operator.
            hurried: hints were lost; such wishes that come again and again are put off further
                each time. Others are not put off, nor by these.
            owed: something is known to have happened that only a scan can find; hurried implies it.
        """
        self._is_owed = self._is_owed or hurried or owed
        if hurried and not self.reason:
            now = self._clock.monotonic()
            calm = self._ended is None or now - self._ended > BACKOFF_MAX_SECONDS
            self._pause = (
                0.0
                if calm
                else min(max(2 * self._pause, BACKOFF_FIRST_SECONDS), BACKOFF_MAX_SECONDS)
            )
            self._not_before = now + self._pause
        elif not hurried:
            self._not_before = 0.0
        self.reason = reason

    def scan_due(
        self, *, limited: bool, polling_seconds: float | None = None, quiet: bool = False
    ) -> bool:
        """Say whether a scan should begin now.

        Args:
            limited: watches have run out.
            polling_seconds: the longest time between scans where others write unnoticed.
            quiet: disks are left to sleep, so what is not needed waits.
        """
        now = self._clock.monotonic()
        if self.reason and now >= self._not_before:
            return True
        if self._ended is None:
            return False
        took = self._ended - self._began
        interval = math.inf if quiet else self._rescan_seconds * self._jitter
        if limited:
            interval = min(interval, max(self._limited_rescan_seconds, 10 * took))
        if polling_seconds is not None:
            interval = min(interval, max(polling_seconds, 10 * took))
        if now - self._ended < interval:
            return False
        self.reason = "it was time"
        return True

    def begin(self) -> None:
        """Note that a scan begins."""
        self.reason = ""
        self.begun += 1
        self._pays, self._is_owed = self._pays or self._is_owed, False
        self._ended = None
        self._began = self._clock.monotonic()

    def end(self) -> float:
        """Note that the scan ended; returns the seconds that it took."""
        self.ended, self._pays = self.begun, False
        self._ended = self._clock.monotonic()
        self._jitter = random.uniform(0.75, 1.25)  # noqa: S311 - only spreads load
        return self._ended - self._began

    def running(self) -> float:
        """Return for how many seconds the scan has been going on."""
        return self._clock.monotonic() - self._began

    def check_due(self) -> bool:
        """Say whether the root should be looked at, once in a while."""
        now = self._clock.monotonic()
        if now - self._checked < CHECK_SECONDS:
            return False
        self._checked = now
        return True

    def trim_due(self, *, idle: bool) -> bool:
        """Say, once in each quiet time, that it has been quiet for long."""
        now = self._clock.monotonic()
        if not idle:
            self._worked, self._trimmed = now, False
        elif not self._trimmed and now - self._worked > TRIM_SECONDS:
            self._trimmed = True
            return True
        return False


class Shortage:
    """Times the attempts to follow a root while the disk of the log is full.

    Each attempt compares the whole root, so they become rarer until one has succeeded.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause = 0.0
        self._until = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether an attempt has failed, and none has succeeded since."""
        return self._pause > 0

    @property
    def pauses(self) -> bool:
        """Whether it is too early for the next attempt."""
        return self._clock.monotonic() < self._until

    def fail(self) -> None:
        """Note that an attempt failed."""
        self._pause = min(max(2 * self._pause, CHECK_SECONDS), FULL_MAX_SECONDS)
        self._until = self._clock.monotonic() + self._pause

    def end(self) -> None:
        """Note that an attempt succeeded."""
        self._pause = 0.0
