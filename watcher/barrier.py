"""Barriers: when is everything that was done on the disk before now in the log?

As Watchman does it (https://facebook.github.io/watchman/docs/cookies.html): a file with a name of
its own, the cookie, is made in the root, and its notification waited for. The kernel's queue keeps
order, so by then all that was done before has been noticed, too. What follows from it, looks, new
directories to be listed, renames whose other half may be on the way, is waited for as well. Only
the notification counts, never a cookie that a scan finds.

The cookie is made in the root's own directory: the one directory that is always watched. It is
empty, it is removed as soon as it is made (its notifications stay in the queue), and nobody's file
is opened or overwritten: it is only made where nothing has its name. A server that is killed in
between leaves an empty file; the next one removes it when it begins to follow the root. Its name is
kept out of the feed by a pattern that is always there. So the only trace is the time of the root's
directory, which says when an entry was last made in it. No cookie is made unless somebody asks for
a barrier.

Where no cookie can be made or noticed (a root that cannot be written, a backend that polls, watches
that ran out), a comparison of the whole root that begins after the request takes its place.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from collections import deque
from concurrent.futures import Future
from typing import Final, Literal

from watcher.backend import Hints, Place
from watcher.follower import Follower
from watcher.rounds import Rounds

How = Literal["notified", "compared"]

PATTERN: Final = re.compile(rb"\.nasfeed-sync-[0-9a-f]{32}")
"""Names of cookies; `watcher.excludes` keeps them out of the feed."""

_PREFIX: Final = b".nasfeed-sync-"

STAGES: Final = 4
"""How often what is waited for may lead to more: a look finds a directory that is to be listed,
what is missing there is to be searched for, where it turns up is to be listed, and what is still
missing is gone after a moment."""

_UNWRITABLE: Final = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT),
    *(errno.EOPNOTSUPP, errno.EINVAL),
)
"""Reasons why no cookie can be made in a root that is well otherwise."""


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
            name = _make_cookie(root_fd) if is_noticed else None
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


def _make_cookie(root_fd: int) -> bytes | None:
    """Make and remove a cookie.

    Returns:
        Its name, or None where none can be made.

    Raises:
        OSError: the disk is in trouble.
    """
    name = _PREFIX + secrets.token_hex(16).encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o600, dir_fd=root_fd)
    except OSError as error:
        if error.errno in _UNWRITABLE:
            return None
        raise
    os.close(fd)
    # Another server that begins to follow the root may have taken it for a leftover.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=root_fd)
    return name


def remove_leftovers(root_fd: int) -> None:
    """Remove cookies that a killed server left in a root.

    Only what can be nothing else is touched: an empty regular file with a cookie's name.

    Args:
        root_fd: the root's directory.
    """
    with os.scandir(root_fd) as entries:
        leftovers = [entry.name for entry in entries if PATTERN.fullmatch(os.fsencode(entry.name))]
    for name in leftovers:
        try:
            found = os.lstat(name, dir_fd=root_fd)
            if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                os.unlink(name, dir_fd=root_fd)
        except FileNotFoundError:
            continue  # of another server, that is at work
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
