"""When to look at a file that is being written. Pure: time is passed in."""

from typing import NamedTuple

from watcher.backend import NOTHING, Place, Sign

LOOK_QUIET_SECONDS = 0.5
LOOK_MAX_SECONDS = 5.0
"""A file of which only writes are heard is looked at after a pause, at the latest so late."""

READ_QUIET_SECONDS = 1.0
READ_MAX_SECONDS = 60.0
"""Its content is read after the writer closed it or paused, at the latest so late."""


EXPIRE_SECONDS = 0.25

_ENDED = Sign.WRITTEN | Sign.MOVED_TO | Sign.DELETED | Sign.MOVED_FROM
_BEGUN = Sign.WRITING | Sign.CREATED
_RENAMED = Sign.DELETED | Sign.MOVED_FROM | Sign.MOVED_TO


class _Writing(NamedTuple):
    sign: Sign
    first: float
    last: float


class Settling:
    """Holds back hints of places that are being written.

    Its one method for other threads is `is_being_written`; `release` may be called by any, too.

    Attributes:
        taken: how many hints were ever taken.
    """

    def __init__(self) -> None:
        self._due: dict[Place, Sign] = {}
        self._waiting: dict[Place, _Writing] = {}
        self._open: dict[Place, _Writing] = {}
        self._held: set[Place] = set()
        self._expired = 0.0
        self.taken = 0

    def hold(self, place: Place) -> None:
        """Take no hints about a place but that its name went or came; see `watcher.writings`."""
        self._held.add(place)
        self._waiting.pop(place, None)

    def release(self, place: Place) -> None:
        """Take all hints about a place again; it must be looked at."""
        self._held.discard(place)

    def is_held(self, place: Place) -> bool:
        """Say whether a face is writing at a place: what is seen there will be recorded as its."""
        return place in self._held

    def hurry(self) -> int:
        """Make everything due now.

        Returns:
            What `taken` is when the last of it was taken: hints are taken in order.
        """
        for place, writing in self._waiting.items():
            self._due[place] = self._due.get(place, NOTHING) | writing.sign
        self._waiting.clear()
        return self.taken + len(self._due)

    def note(self, place: Place, sign: Sign, now: float) -> None:
        """Take a hint.

        Args:
            place: where.
            sign: what was noticed.
            now: seconds of a monotonic clock.
        """
        if place in self._held and not sign & _RENAMED:
            return
        if sign & _ENDED:
            self._open.pop(place, None)
        elif sign & _BEGUN:
            before = self._open.get(place)
            self._open[place] = _Writing(sign, before.first if before else now, now)
        if sign == Sign.WRITING and place not in self._due:
            before = self._waiting.get(place)
            self._waiting[place] = _Writing(sign, before.first if before else now, now)
            return
        if (waiting := self._waiting.pop(place, None)) is not None:
            sign |= waiting.sign
        self._due[place] = self._due.get(place, NOTHING) | sign

    def take(self, now: float, limit: int) -> dict[Place, Sign]:
        """Return hints whose time has come, the oldest first, and forget them.

        Args:
            now: seconds of a monotonic clock.
            limit: at most so many.
        """
        for place, writing in list(self._waiting.items()):
            if now >= _due(writing, LOOK_QUIET_SECONDS, LOOK_MAX_SECONDS):
                del self._waiting[place]
                self._due[place] = self._due.get(place, NOTHING) | writing.sign
        self._expire(now)
        self.taken += min(limit, len(self._due))
        if len(self._due) <= limit:
            taken, self._due = self._due, {}
            return taken
        taken = {place: self._due[place] for place, _ in zip(self._due, range(limit), strict=False)}
        for place in taken:
            del self._due[place]
        return taken

    def _expire(self, now: float) -> None:
        """Forget writers that have paused; now and then, because there may be many."""
        if now - self._expired < EXPIRE_SECONDS:
            return
        self._expired = now
        self._open = {
            place: writing
            for place, writing in self._open.items()
            if now < _due(writing, READ_QUIET_SECONDS, READ_MAX_SECONDS)
        }

    def next_due(self) -> float | None:
        """Return when `take` will have something, seconds of the clock; None: not known yet."""
        if self._due:
            return 0.0
        times = (
            _due(writing, LOOK_QUIET_SECONDS, LOOK_MAX_SECONDS)
            for writing in self._waiting.values()
        )
        return min(times, default=None)

    def __len__(self) -> int:
        return len(self._due) + len(self._waiting)

    def is_being_written(self, place: Place, now: float) -> bool:
        """Say whether a writer seems to have a file open, so that reading it would be too early."""
        if place in self._held:
            return True
        writing = self._open.get(place)
        return writing is not None and now < _due(writing, READ_QUIET_SECONDS, READ_MAX_SECONDS)


def _due(writing: _Writing, quiet: float, longest: float) -> float:
    return min(writing.last + quiet, writing.first + longest)
