"""A backend that notices what the test says, and nothing else."""

import os
import threading

from watcher.backend import Hints, Place, Sign
from watcher.sysctl import Limit, LimitReachedError


class FakeBackend:
    """A `watcher.backend.Backend` driven by a test.

    Args:
        limit: how many directories can be watched; more raise LimitReachedError.
    """

    name = "fake"

    def __init__(self, *, limit: int | None = None) -> None:
        self.closed = False
        self._limit = limit
        self._watched: dict[int, tuple[int, int]] = {}
        self._signs: dict[Place, Sign] = {}
        self._overflow = False
        self._woken = False
        self._changed = threading.Condition()

    # What the test does.

    def notice(self, number: int, name: bytes, sign: Sign) -> None:
        """Make the next `read` tell of a name in a watched directory.

        Raises:
            LookupError: nobody watches it, so that no real backend would notice.
        """
        if number not in self._watched:
            raise LookupError(f"directory {number} is not watched")
        with self._changed:
            place = Place(number, name)
            self._signs[place] = self._signs.get(place, Sign(0)) | sign
            self._changed.notify_all()

    def overflow(self) -> None:
        """Lose what was noticed so far, and say so."""
        with self._changed:
            self._signs.clear()
            self._overflow = True
            self._changed.notify_all()

    def watched(self) -> set[int]:
        """Return the numbers of the directories that are watched."""
        return set(self._watched)

    # The port.

    def watch(self, number: int, fd: int) -> bool:
        found = _file(fd)
        if self._watched.get(number) == found:
            return False
        if self._limit is not None and len({*self._watched, number}) > self._limit:
            raise LimitReachedError(Limit("fake.max_watches", self._limit), "fake", "watches")
        self._watched[number] = found
        return True

    def unwatch(self, number: int) -> None:
        self._watched.pop(number, None)

    def read(self, timeout_seconds: float) -> Hints:
        with self._changed:
            self._changed.wait_for(self._has_news, timeout_seconds)
            hints = Hints(self._signs, self._overflow)
            self._signs, self._overflow, self._woken = {}, False, False
        return hints

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def watches(self) -> int:
        return len(self._watched)

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _has_news(self) -> bool:
        return bool(self._signs or self._overflow or self._woken or self.closed)


def _file(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
