"""What faces that change files need from whoever observes the root; composition fills it in."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Literal, Protocol


class RootUnavailableError(Exception):
    """A root is not there now, or nothing can be recorded of it; the message says why."""


How = Literal["writing", "written", "changed", "removed", "moved away", "moved here"]
"""What was done to a path; `changed`: made, but for its bytes, or given other attributes;
`writing`: its bytes were changed, and soon more of them may be."""

Touched = tuple[bytes, How]
"""A path relative to a root, raw, and what was done to it."""


class ServedRoot(Protocol):
    """A root whose files a face may change. Every method may be called by any thread."""

    def open_root(self) -> int:
        """Open the root's directory; the caller closes it.

        Raises:
            RootUnavailableError: it is not there, or is not what is observed.
        """
        ...

    def perform(
        self,
        act: Callable[[], Sequence[Touched]],
        about: tuple[bytes, ...],
        author: str,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """Make a change and wait until it is durable in the log; not for the event loop's thread.

        Changes of one root are made one after the other, each recorded before any other look at
        what it touched.

        Args:
            act: makes the change and returns what it touched, upper directories first; or raises,
                and that is raised here. It must be quick.
            about: the paths that it is meant to touch.
            author: who did it, for the log.
            meanwhile: called in the caller's thread as soon as the change is made, while it is
                recorded; what it raises is raised here.

        Returns:
            The log's position, which is not before the change's.

        Raises:
            RootUnavailableError: nothing was done; or it was done and could not be recorded, and
                will be when the log works again, as by nobody.
        """
        ...

    def hides(self, path: bytes) -> bool:
        """Say whether nothing may be read or stored at a relative path.

        Its last name is excluded from the feed, or it is a file of the server itself. Whether one
        above it is hidden must be asked for by itself.
        """
        ...


class WritableRoot(ServedRoot, Protocol):
    """A root whose files a face may change in place, in many small pieces."""

    @property
    def path(self) -> bytes | None:
        """Where it is, as the log has it: absolute, raw; None when there is no log of it."""
        ...

    def write(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Change bytes of a file; not for the event loop's thread.

        The first change of a file is durable in the log when this returns. Those that follow are
        recorded together, when the file is left alone for a while or after a bounded time.

        Args:
            act: changes them, or raises, and that is raised here. It may run in any thread, and
                several at once for one file.
            path: of the file.
            author: who did it, for the log.

        Raises:
            RootUnavailableError: as `perform`.
        """
        ...

    def begin(
        self, act: Callable[[], Sequence[Touched]], about: tuple[bytes, ...], author: str
    ) -> Future[int] | None:
        """Have a change made as by `perform`, without waiting; any thread may call.

        Returns:
            A future of what `perform` returns or raises; None when it must be called instead.
        """
        ...

    def amend(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Change something else than bytes, as `perform`; while a file is written, as part of that.

        Args:
            act: changes it, or raises, and that is raised here. It may run in any thread.
            path: of what is changed.
            author: who did it, for the log.

        Raises:
            RootUnavailableError: as `perform`.
        """
        ...

    def settle(self, path: bytes, author: str) -> None:
        """Wait until what was written to a file is durable in the log, and expect no more of it.

        Raises:
            RootUnavailableError: as `perform`.
        """
        ...

    def is_own(self, path: bytes) -> bool:
        """Say whether a relative path is that of a file of the server itself."""
        ...
