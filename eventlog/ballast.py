"""Space kept back on the disk of the log, so that a full disk can still be tidied.

On a full disk SQLite can delete nothing: the deletion itself has to be written first. So a file of
a few megabytes lies beside the database. When the disk is full it is given up, a compaction uses
the space to free more, and then it is made again.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BYTES: Final = 16 * 2**20
"""Several times what the steps of a compaction write between two checkpoints."""

LENT_BYTES: Final = 2**20
"""Enough to open the log and to find out by the next append that the disk is full."""

_CHUNK = 2**20


class Ballast:
    """The file that can be given up.

    Args:
        database: the log; the file lies beside it.
        size: of the file, bytes.
    """

    def __init__(self, database: str, size: int = BYTES) -> None:
        self._path = Path(f"{database}.ballast")
        self._size = size

    @property
    def mib(self) -> int:
        """Its size in MiB."""
        return self._size // 2**20

    @property
    def is_there(self) -> bool:
        """Whether there is enough to be given up; a little of it may have been lent."""
        return self._path.exists() and self._enough(self._path.stat().st_size)

    @property
    def has_room(self) -> bool:
        """Whether the disk has room for it, and as much again for the log."""
        return self._free() >= 2 * self._size

    def make(self) -> bool:
        """Make it, if the disk has just room for it, or little less.

        Its content is random: a filesystem that compresses would keep no space for zeros.

        Returns:
            Whether it is there now.
        """
        size = min(self._size, self._free())
        if not self.is_there and self._enough(size):
            try:
                with self._path.open("wb", buffering=0) as file:
                    for start in range(0, size, _CHUNK):
                        file.write(os.urandom(min(_CHUNK, size - start)))
                    os.fsync(file.fileno())
            except OSError:  # someone else took the space meanwhile; it is tried again later
                self.give_up()
        return self.is_there

    def lend(self) -> bool:
        """Let the log have a little of it, for what it needs to be opened.

        Returns:
            Whether there was as much.
        """
        left = (self._path.stat().st_size if self._path.exists() else 0) - LENT_BYTES
        if left < 0:
            return False
        os.truncate(self._path, left)
        return True

    @contextlib.contextmanager
    def spent(self) -> Iterator[None]:
        """Let the log have the space for a while, if the disk is full."""
        if self.has_room:
            yield
            return
        self.give_up()
        try:
            yield
        finally:
            self.make()

    def give_up(self) -> None:
        """Let the log have the space."""
        self._path.unlink(missing_ok=True)

    def _enough(self, size: int) -> bool:
        return 4 * size >= 3 * self._size

    def _free(self) -> int:
        return shutil.disk_usage(self._path.parent).free
