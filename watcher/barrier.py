"""Barriers: when is everything that was done on the disk before now in the log?

As Watchman does it (https://facebook.github.io/watchman/docs/cookies.html): a file with a name of
its own, the cookie, is made in the root, and its notification waited for. The kernel's queue keeps
order, so by then all that was done before has been noticed, too. What follows from it, looks, new
directories to be listed, renames whose other half may be on the way, is waited for as well. Only
the notification counts, never a cookie that a scan finds.

The cookie (`watcher.cookie`) is made in the root's own directory: the one directory that is always
watched. None is made for a barrier unless somebody asks for one.

Where no cookie can be made or noticed (a root that cannot be written, a backend that polls, watches
that ran out), a comparison of the whole root that begins after the request takes its place.
"""

from collections import deque
from concurrent.futures import Future
from typing import Final, Literal

from watcher.backend import Hints, Place
from watcher.cookie import UnwritableError, make_cookie
from watcher.follower import Follower
from watcher.rounds import Rounds

How = Literal["notified", "compared"]

STAGES: Final = 4
"""How often what is waited for may lead to more: a look finds a directory that is to be listed,
what is missing there is to be searched for, where it turns up is to be listed, and what is still
missing is gone after a moment."""


class NotSyncedError(Exception):
    """A root cannot give a barrier now; the message says why."""


class _Barrier:
    def __init__(self, done: "Future[How]") -> None:
        self.done = done
        self.place: Place | None = None
        self.is_seen = False
        self.scan: int | None = None
        self.until_taken = 0
        self.stages = STAGES
        self.debts: frozenset[object] = frozenset()


class Barriers:
    """The barriers of one root. `add` may be called by any thread, the rest by its observer."""

    def __init__(self) -> None:
        self._asked: deque[Future[How]] = deque()
        self._running: list[_Barrier] = []

    def __bool__(self) -> bool:
        return bool(self._asked or self._running)

    @property
    def asked(self) -> bool:
        """Whether some are still to be begun."""
        return bool(self._asked)

    def add(self) -> "Future[How]":
        """Ask for a barrier.

        Returns:
            A future that is done when all that was on the disk before the call is in the log. It
            fails with NotSyncedError. Whoever waits no longer cancels it.
        """
        done: Future[How] = Future()
        self._asked.append(done)
        return done

    def close(self, reason: str) -> None:
        """Fail all barriers, because the root is not followed any more."""
        while self._asked:
            self._running.append(_Barrier(self._asked.popleft()))
        for barrier in self._running:
            if barrier.done.set_running_or_notify_cancel():
                barrier.done.set_exception(NotSyncedError(reason))
        self._running.clear()

    def begin(self, root: int, root_fd: int, rounds: Rounds, *, is_noticed: bool) -> None:
        """Begin what was asked for.

        Args:
            root: number of the root.
            root_fd: its directory.
            rounds: plans comparisons.
            is_noticed: whether all that happens in the root is noticed.
        """
        while self._asked:
            barrier = _Barrier(self._asked.popleft())
            self._running.append(barrier)
            try:
                name = make_cookie(root_fd) if is_noticed else None
            except UnwritableError:
                name = None
            if name is None:
                barrier.scan = rounds.begun + 1
                rounds.want("a client waits for it")
            else:
                barrier.place = Place(root, name)

    def notice(self, hints: Hints, follower: Follower, rounds: Rounds) -> None:
        """Look for cookies in hints, after the follower has taken them."""
        for barrier in self._running:
            if barrier.is_seen or barrier.place is None:
                continue
            if hints.overflow:
                # Its notification may be lost, but a comparison follows that begins after it.
                barrier.place, barrier.scan = None, rounds.begun + 1
            elif barrier.place in hints.signs:
                barrier.is_seen = True
                barrier.until_taken = follower.hurry()

    def proceed(self, follower: Follower, rounds: Rounds) -> None:
        """Finish the barriers that nothing stands before any more, after a round of work."""
        waiting = []
        for barrier in self._running:
            if barrier.done.cancelled():
                continue
            if not _is_done(barrier, follower, rounds):
                waiting.append(barrier)
            elif barrier.done.set_running_or_notify_cancel():
                barrier.done.set_result("compared" if barrier.place is None else "notified")
        self._running = waiting


def _is_done(barrier: _Barrier, follower: Follower, rounds: Rounds) -> bool:
    if barrier.scan is not None:
        if rounds.ended < barrier.scan:
            return False
        # What the comparison noticed while it ran is worked off like what a cookie followed.
        barrier.scan, barrier.is_seen, barrier.until_taken = None, True, follower.hurry()
    if not barrier.is_seen or rounds.is_owed or follower.taken < barrier.until_taken:
        return False
    return _is_paid(barrier, follower)


def _is_paid(barrier: _Barrier, follower: Follower) -> bool:
    """Return whether all that followed from what was noticed has been recorded."""
    while barrier.stages:
        barrier.debts &= follower.debts()
        if barrier.debts:
            return False
        barrier.stages -= 1
        barrier.debts = follower.debts()
    return not (barrier.debts & follower.debts())
