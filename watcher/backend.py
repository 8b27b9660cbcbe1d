"""What every notification backend offers: hints where to look. A backend decides nothing."""

from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import NamedTuple, Protocol, runtime_checkable


class Sign(IntFlag):
    """What a backend noticed about a name. Signs of one name are or-ed until it is looked at."""

    CREATED = 1
    """A name appeared (created, linked, or the like)."""
    WRITING = 2
    """Bytes were written or cut, and the writer may go on."""
    WRITTEN = 4
    """A writer closed the file."""
    ATTRIBUTES = 8
    """Mode, owner, times or link count changed."""
    DELETED = 16
    """The name was unlinked."""
    MOVED_FROM = 32
    """The name was renamed away, perhaps to where nobody watches."""
    MOVED_TO = 64
    """The name was renamed to here."""
    SELF = 128
    """The directory itself was deleted, moved or unmounted; the name is empty."""
    UNMOUNTED = 256
    """Its filesystem was unmounted, and the watch went with it; the name is empty."""

    # What the base class does takes five times as long, and bursts are full of it.

    def __or__(self, other: int) -> "Sign":
        return ALL[int.__or__(self, other)]

    def __and__(self, other: int) -> "Sign":
        return ALL[int.__and__(self, other)]

    def __contains__(self, other: int) -> bool:
        return int.__and__(self, other) == other

    __ror__ = __or__
    __rand__ = __and__


ALL = tuple(Sign(value) for value in range(2 * max(Sign)))
"""Every combination, by its value: `Sign(value)` takes ten times as long."""

NOTHING = Sign(0)

CONTENT = Sign.WRITING | Sign.WRITTEN
"""Signs after which bytes may differ although size and times do not."""


class Place(NamedTuple):
    """A name in a directory: what a hint points at.

    Attributes:
        directory: node number of the directory.
        name: raw bytes; empty for the directory itself.
    """

    directory: int
    name: bytes


class Hints(NamedTuple):
    """What was noticed since the last read.

    Attributes:
        signs: for each place the or-ed signs, in order of first notice.
        overflow: hints were lost: only a scan of the whole root finds what they said.
    """

    signs: dict[Place, Sign]
    overflow: bool


class WatchLimitError(Exception):
    """The kernel gives no more watches; the message says which sysctl to raise, and how."""

    def advice(self, missing: int) -> str:
        """Return the message for someone who knows how much is not watched for it.

        Args:
            missing: how many directories.
        """
        del missing
        return str(self)


class Backend(Protocol):
    """Notifications for the directories of one root.

    `watch`, `unwatch` and `read` are called by one thread, the root's observer; `wake` and
    `close` by any. Noticing goes on inside the backend while the observer is busy.
    """

    name: str

    def watch(self, number: int, fd: int) -> bool:
        """Notice what happens to the names in a directory from now on.

        Args:
            number: its node number; a hint names the directory by it, whatever its path becomes.
            fd: a descriptor of it (O_PATH suffices); not kept.

        Returns:
            Whether the watch is new for this number, so that the directory must be listed now.

        Raises:
            WatchLimitError: no more watches.
            OSError: it cannot be watched.
        """
        ...

    def unwatch(self, number: int) -> None:
        """Forget a directory; unknown numbers are ignored."""
        ...

    def read(self, timeout_seconds: float) -> Hints:
        """Wait for hints.

        Args:
            timeout_seconds: the longest wait; 0 does not wait.

        Returns:
            All hints noticed so far, each once; empty after the timeout or `wake`.
        """
        ...

    def wake(self) -> None:
        """Make a waiting `read`, or the next one, return at once."""
        ...

    def watches(self) -> int:
        """Return how many directories are watched."""
        ...

    def close(self) -> None:
        """Stop noticing and free everything."""
        ...


@runtime_checkable
class Foresighted(Protocol):
    """A backend that can keep what happens in directories before it is told of them.

    So they can be listed first, by anybody, and told of later; what happened since the first call
    is then hinted at as well.
    """

    def foresee(self) -> Mapping[int, bytes] | None:
        """Keep from now on what happens in directories that are not watched.

        Returns:
            For the number of each mount of the root the beginning of keys of directories on it.
            They end with the handle that name_to_handle_at(2) gives. None where it cannot be had.
        """
        ...

    def watch_listed(self, numbers: Sequence[int], keys: Sequence[bytes]) -> None:
        """Watch directories that were listed since.

        Args:
            numbers: their node numbers.
            keys: for each its mount's beginning, and its handle.
        """
        ...

    def forget_strangers(self) -> None:
        """Keep no longer what happens in directories that are not watched."""
        ...
