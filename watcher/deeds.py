"""Changes that faces make: done and recorded by the thread that observes the root.

A face hands over a function that makes the change. The observer calls it, looks at what it
touched, and records that with the name of who did it, before it reads another hint. So the
kernel's own echo of the change always finds what is known already, two changes of one file never
overlap, and an older look is never stored after a newer one.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, NamedTuple

How = Literal["writing", "written", "changed", "removed", "moved away", "moved here"]
"""What was done to a path; `changed`: made, but for its bytes, or given other attributes;
`writing`: its bytes were changed, and soon more of them may be (`watcher.writings`)."""

Touched = tuple[bytes, How]
"""A path relative to the root, raw, and what was done to it."""

Act = Callable[[], Sequence[Touched]]
"""Makes a change and returns what it touched, upper directories first; or raises."""


class Deed(NamedTuple):
    """A change to be made.

    Attributes:
        act: makes it. It must be quick: the root is not observed meanwhile.
        about: the paths that it is meant to touch; it may touch directories above them as well.
        author: who did it, for the log.
        done: gets the log's position when the change is durable in the log, or what was raised.
    """

    act: Act
    about: tuple[bytes, ...]
    author: str
    done: "Future[int]"


class RefusedError(Exception):
    """A root takes no changes now; the message says why."""


class Deeds:
    """Changes that wait for the observer of a root. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Deed] = deque()
        self._closed: str | None = "it was not found yet"

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, act: Act, about: tuple[bytes, ...], author: str) -> "Future[int]":
        """Have a change made.

        Returns:
            A future, see `Deed`; it fails with RefusedError when the root is not observed now.
        """
        deed = Deed(act, about, author, Future())
        with self._lock:
            if self._closed is None:
                self._waiting.append(deed)
                return deed.done
            reason = self._closed
        deed.done.set_exception(RefusedError(reason))
        return deed.done

    def take(self) -> list[Deed]:
        """Return what waits, in order, and forget it."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        return [deed for deed in taken if deed.done.set_running_or_notify_cancel()]

    def open(self) -> None:
        """Accept changes from now on."""
        with self._lock:
            self._closed = None

    def close(self, reason: str) -> None:
        """Refuse what waits, and all that comes until it is opened.

        Args:
            reason: for whoever wanted a change.
        """
        with self._lock:
            self._closed = reason
        for deed in self.take():
            deed.done.set_exception(RefusedError(reason))
