"""What faces do to one root: changes that wait for its observer, and files that they write to."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from eventlog.clock import Clock
from watcher.deeds import Act, Deeds, Touched
from watcher.follower import Follower
from watcher.performer import Performer
from watcher.settle import Settling
from watcher.writings import Writings

if TYPE_CHECKING:
    from concurrent.futures import Future


class Changes:
    """Takes changes from any thread, and has them made and recorded by the observer's.

    Args:
        settling: of the root.
        clock: time.
        wake: has the observer look here.

    Attributes:
        writings: files that are being written.
    """

    def __init__(self, settling: Settling, clock: Clock, wake: Callable[[], None]) -> None:
        self.writings = Writings(settling, clock)
        self._deeds = Deeds()
        self._wake = wake

    def perform(self, act: Act, about: tuple[bytes, ...], author: str) -> "Future[int]":
        """Have a change made and recorded; any thread may call.

        Args:
            act: makes the change; must be quick.
            about: the paths that it is meant to touch.
            author: who did it.

        Returns:
            A future of the log's position once the change is durable there; it fails with what
            was raised, or with `watcher.deeds.RefusedError` when the root is not observed now.
        """
        done = self._deeds.add(act, about, author)
        self._wake()
        return done

    def write(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Have bytes of a file changed, and recorded, at once or soon; see `watcher.writings`.

        Args:
            act: changes them; called in this thread or in the observer's.
            path: of the file.
            author: who does it.

        Raises:
            RefusedError: the root is not observed now.
        """
        if self.writings.enter(path, author):
            try:
                act()
            finally:
                self.writings.leave(path)
            return

        def first() -> list[Touched]:
            act()
            return [(path, "writing")]

        self.perform(first, (path,), author).result()

    def amend(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Have something else than bytes of a file changed.

        While its bytes are being written by the same author, this is a part of that, and recorded
        with it: who unpacks an archive sets mode and times of each file after its bytes.

        Args:
            act: changes it; called in this thread or in the observer's.
            path: of the file.
            author: who does it.

        Raises:
            RefusedError: the root is not observed now.
        """
        if self.writings.enter(path, author):
            try:
                act()
            finally:
                self.writings.leave(path)
            return

        def alone() -> list[Touched]:
            act()
            return [(path, "changed")]

        self.perform(alone, (path,), author).result()

    def settle(self, path: bytes, author: str) -> None:
        """Have what was written to a file recorded before this returns.

        Raises:
            RefusedError: the root is not observed now.
        """
        if self.writings.is_open(path):
            self.perform(lambda: [(path, "written")], (path,), author).result()

    def open(self) -> None:
        """Accept changes from now on."""
        self._deeds.open()

    def close(self, reason: str) -> None:
        """Refuse what waits, and all that comes until it is opened.

        Args:
            reason: for whoever wanted a change.
        """
        self._deeds.close(reason)
        self.writings.clear()

    def work(
        self,
        check: Callable[[], None],
        follower: Follower,
        performer: Performer,
        *,
        everything: bool,
    ) -> None:
        """Make and record, on the observer's thread, what is due; scans give way to that.

        Args:
            check: raises when the root is no longer there.
            follower: of the root.
            performer: makes changes.
            everything: record also what may be written on.

        Raises:
            OSError: the disk is in trouble.
            LogError: nothing can be recorded.
        """
        writes, places = self.writings.due()
        for place in places:
            follower.suspect(place)
        if everything:
            writes += self.writings.settle_all()
        if writes or self._deeds:
            check()
            follower.flush()
            performer.record_writes(writes)
            self._make(performer)

    def _make(self, performer: Performer) -> None:
        deeds = self._deeds.take()
        about = ((path, deed.author) for deed in deeds for path in deed.about)
        performer.record_writes(self.writings.settle(about))
        performer.perform(deeds)
