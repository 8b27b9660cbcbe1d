"""Files that faces are writing to, in many small pieces that are to become few events.

The first piece is recorded at once, by the thread that observes the root. Those that follow soon
are only noted here, and recorded together: when nothing was written for a while, or when that does
not come about, after a bounded time. Meanwhile the kernel's own hints about the file are held back,
since they would be recorded as nobody's, and nobody reads it for its hash.

A server that is killed meanwhile forgets who wrote last, not that something was written: its next
scan finds that.
"""

import threading
from collections.abc import Iterable
from typing import NamedTuple

from eventlog.clock import Clock
from watcher.backend import Place
from watcher.settle import LOOK_MAX_SECONDS, LOOK_QUIET_SECONDS, Settling


class Unrecorded(NamedTuple):
    """Writes that nobody has recorded yet.

    Attributes:
        path: of the file, relative to the root, raw.
        author: who wrote.
        goes_on: the writer seems not to have finished.
    """

    path: bytes
    author: str
    goes_on: bool = False


class _Writing:
    """One file that is being written.

    Attributes:
        busy: how many pieces are being written just now.
        dirty: whether something was written since the last look.
        first, last: when that was, seconds of a monotonic clock.
    """

    def __init__(self, author: str, place: Place, now: float) -> None:
        self.author = author
        self.place = place
        self.first = self.last = now
        self.busy = 0
        self.dirty = False

    def touch(self, now: float) -> None:
        """Note that something was written."""
        if not self.dirty:
            self.first = now
        self.last = now
        self.dirty = True

    def is_quiet(self, now: float) -> bool:
        """Say whether nobody has written for a while."""
        return not self.busy and now - self.last >= LOOK_QUIET_SECONDS

    def is_overdue(self, now: float) -> bool:
        """Say whether what was written must be recorded although more may come."""
        return self.dirty and now - self.first >= LOOK_MAX_SECONDS


class Writings:
    """The files of one root that are being written through faces.

    Args:
        settling: holds back what the kernel says of them.
        clock: time.
    """

    def __init__(self, settling: Settling, clock: Clock) -> None:
        self._settling = settling
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[bytes, _Writing] = {}

    def enter(self, path: bytes, author: str) -> bool:
        """Say whether a file is being written by an author already; any thread may call.

        Returns:
            True: a piece may be written, and `leave` must be called then. False: it must be
            written and recorded by the observer.
        """
        with self._lock:
            writing = self._open.get(path)
            if writing is None or writing.author != author:
                return False
            writing.touch(self._clock.monotonic())
            writing.busy += 1
            return True

    def leave(self, path: bytes) -> None:
        """Note that a piece was written, wholly or not; any thread may call."""
        with self._lock:
            writing = self._open.get(path)
            if writing is not None:  # else nothing is held back any more: the kernel tells of it
                writing.busy = max(0, writing.busy - 1)
                writing.touch(self._clock.monotonic())

    def begin(self, path: bytes, author: str, place: Place) -> None:
        """Note, on the observer's thread, that a first piece was written and recorded.

        Args:
            path: of the file.
            author: who wrote.
            place: where it is.
        """
        with self._lock:
            writing = self._open.get(path)
            if writing is None:
                self._open[path] = _Writing(author, place, self._clock.monotonic())
            else:  # several first pieces came at once
                self._settling.release(writing.place)
                writing.author, writing.place = author, place
        self._settling.hold(place)

    def is_open(self, path: bytes) -> bool:
        """Say whether a file is being written."""
        return path in self._open

    def take(self, path: bytes) -> bool:
        """Say whether a file is being written, and expect that it is looked at now."""
        with self._lock:
            writing = self._open.get(path)
            if writing is not None:
                writing.dirty = False
            return writing is not None

    def due(self) -> tuple[list[Unrecorded], list[Place]]:
        """Return what is to be recorded now.

        Returns:
            Writes, and places to be looked at again because nothing is held back there any more.
        """
        now = self._clock.monotonic()
        with self._lock:
            overdue = [path for path, one in self._open.items() if one.is_overdue(now)]
            quiet = [path for path, one in self._open.items() if one.is_quiet(now)]
            writes = [Unrecorded(path, self._open[path].author, goes_on=True) for path in overdue]
            for path in overdue:
                self._open[path].dirty = False
            return self._close(quiet, writes)

    def settle(self, about: Iterable[tuple[bytes, str]]) -> list[Unrecorded]:
        """Return the writes to be recorded before something else is done.

        Args:
            about: a path that it is about, and who does it. What is below the path, or written by
                somebody else, is recorded first.
        """
        found: list[Unrecorded] = []
        with self._lock:
            if not self._open:
                return found
            for path, author in about:
                below = path + b"/"
                doomed = [
                    each
                    for each, one in self._open.items()
                    if each.startswith(below) or (each == path and one.author != author)
                ]
                self._close(doomed, found)
        return found

    def settle_all(self) -> list[Unrecorded]:
        """Return all writes that were not recorded, for whoever waits for them."""
        found: list[Unrecorded] = []
        with self._lock:
            # What is being written just now is held back until that is recorded.
            busy = {path: one.author for path, one in self._open.items() if one.busy}
            self._close([path for path in self._open if path not in busy], found)
        return found + [Unrecorded(path, busy[path], goes_on=True) for path in busy]

    def end(self, path: bytes) -> None:
        """Hold back nothing about a file any more, unless somebody is writing to it just now."""
        with self._lock:
            writing = self._open.get(path)
            if writing is not None and not writing.busy:
                self._close([path], [])

    def forget(self, path: bytes) -> None:
        """Hold back nothing about a file any more: it has another path now, or none."""
        with self._lock:
            self._close([path], [])

    def clear(self) -> None:
        """Forget everything: the root is not observed any more, and will be scanned."""
        with self._lock:
            self._close(list(self._open), [])

    def wait_seconds(self, longest: float) -> float:
        """Return how long nothing needs to be recorded."""
        now = self._clock.monotonic()
        with self._lock:
            quiet = [one.last + LOOK_QUIET_SECONDS for one in self._open.values() if not one.busy]
            overdue = [one.first + LOOK_MAX_SECONDS for one in self._open.values() if one.dirty]
        return max(0.0, min([longest, *(when - now for when in quiet + overdue)]))

    def _close(
        self, paths: Iterable[bytes], writes: list[Unrecorded]
    ) -> tuple[list[Unrecorded], list[Place]]:
        places = []
        for path in paths:
            writing = self._open.pop(path, None)
            if writing is None:
                continue
            self._settling.release(writing.place)
            if writing.dirty:
                writes.append(Unrecorded(path, writing.author))
            else:
                places.append(writing.place)
        return writes, places
