"""How much the store takes of its disk, and whether it may take more."""

import threading

from api.files.refusal import Refusal


class Usage:
    """Bytes of the files and of what is kept of them.

    They are counted now and then, as other doors write as well, and reckoned in between.

    Args:
        quota: the most that there may be; None for any.
    """

    def __init__(self, quota: int | None) -> None:
        self.quota = quota
        self._lock = threading.Lock()
        self._bytes = 0

    def check(self, more: int) -> None:
        """Refuse what would be too much.

        Args:
            more: bytes that are to be added.

        Raises:
            Refusal: 507.
        """
        if self.quota is not None and self._bytes + more > self.quota:
            raise Refusal(507, f"the store may hold {self.quota} bytes, and that would be more")

    def add(self, size: int) -> None:
        """Note that bytes were added, or removed when negative."""
        with self._lock:
            self._bytes += size

    def counted(self, size: int) -> None:
        """Note how many bytes there really are."""
        with self._lock:
            self._bytes = size
