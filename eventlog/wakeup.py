"""One wake-up for all who sleep until the log grows. It carries no data: they read the log."""

import logging
import threading
from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Wakeup:
    """Calls whoever asked to be told that the log has grown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._count = 0

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called after each commit, on the writer's thread; it must not block.

        Returns:
            A function that ends the subscription.
        """
        with self._lock:
            self._callbacks.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                self._callbacks.remove(callback)

        return unsubscribe

    def notify(self) -> None:
        """Wake everyone."""
        with self._lock:
            self._count += 1
            callbacks = tuple(self._callbacks)
        for callback in callbacks:
            try:
                callback()
            except Exception:  # whoever sleeps badly must not stop the writer, nor the others
                _logger.exception("a sleeper could not be woken; it will find the change later")

    def count(self) -> int:
        """Return how often everyone was woken."""
        return self._count
