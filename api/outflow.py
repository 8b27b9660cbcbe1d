"""How an answer flows to a client: whether it takes what is sent, and how much waits in memory."""

from api.limits import Limits


class Outflow:
    """What one connection has still to send.

    Args:
        limits: how slow a client may be.
        now: of the loop's clock, seconds.

    Attributes:
        unsent: bytes that wait in memory, at the last look.
        since: when the client last took enough of them.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._mark = 0
        self.unsent = 0
        self.since = now

    def progress(self, now: float) -> None:
        """Note that the client has taken so much that more may be written."""
        self.since = now
        self._mark = self.unsent

    def is_stuck(self, unsent: int, now: float) -> bool:
        """Return whether the client has long taken too little.

        Args:
            unsent: bytes that wait now.
            now: of the loop's clock, seconds.
        """
        self.unsent = unsent
        if unsent == 0 or unsent <= self._mark - self._limits.progress_bytes_min:
            self.progress(now)
        self._mark = max(self._mark, unsent)
        return now - self.since >= self._limits.receive_seconds
