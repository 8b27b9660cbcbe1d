"""A file that is there whole and for good, or not at all."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

PARTIAL = ".partial"
"""End of the name of a file that is being written; one that a crash left may be removed."""


class Calls:
    """What is asked of the operating system; tests put themselves in between."""

    def create(self, path: Path) -> int:
        """Make an empty file; return its descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: Path) -> int:
        """Open a file as it is, or make an empty one; return its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def truncate(self, descriptor: int) -> None:
        """Empty a file."""
        os.ftruncate(descriptor, 0)

    def write(self, descriptor: int, data: bytes) -> None:
        """Append all of it."""
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    def sync(self, descriptor: int) -> None:
        """Have the content on the disk."""
        os.fsync(descriptor)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its name."""
        old.replace(new)

    def link(self, old: Path, new: Path) -> None:
        """Give a file a second name, which must be free."""
        new.hardlink_to(old)

    def sync_directory(self, path: Path) -> None:
        """Have the names in a directory on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Take a file away."""
        path.unlink(missing_ok=True)


SYSTEM = Calls()


class DurableFile:
    """Writes a file under another name, and gives it its own when all is on the disk.

    Used in a `with` block: at its end the file is published, or after an error removed.

    Args:
        path: its name.
        calls: the operating system.

    Raises:
        OSError: it cannot be written; then there is no such file.
    """

    def __init__(self, path: Path, calls: Calls = SYSTEM) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}{PARTIAL}")
        self._calls = calls
        self._descriptor = calls.create(self._partial)

    def write(self, data: bytes) -> None:
        """Append to it."""
        self._calls.write(self._descriptor, data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._calls.sync(self._descriptor)
        except BaseException:
            self._discard()
            raise
        if kind is not None:
            self._discard()
            return
        os.close(self._descriptor)
        self._calls.rename(self._partial, self._path)
        self._calls.sync_directory(self._path.parent)

    def _discard(self) -> None:
        os.close(self._descriptor)
        self._calls.remove(self._partial)
