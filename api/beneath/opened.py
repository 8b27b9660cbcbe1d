"""Directories that stay open for several changes in a row, which then cost one opening of each."""

import os
from typing import Self

from api.beneath.paths import BadPathError, join, split
from api.beneath.reach import Reach, reach_of
from api.beneath.root import Beneath, Entry
from api.beneath.syncing import SYNCER


class Opened:
    """Opens directories beneath a root once. Used as a context manager, for a moment only.

    Whoever moves such a directory meanwhile takes what is done in it along.

    Args:
        beneath: access to the root.
    """

    def __init__(self, beneath: Beneath) -> None:
        self._beneath = beneath
        self._fds: dict[bytes, int] = {}
        self._reaches: dict[int, Reach] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._fds:
            os.close(self._fds.popitem()[1])

    def directory(self, path: bytes) -> int:
        """Return a descriptor of a directory, valid until the end.

        Raises:
            BadPathError: no client may name such a path.
            OSError: it is none, or cannot be opened.
        """
        fd = self._fds.get(path)
        if fd is None:
            fd = self._fds[path] = self._beneath.open_directory(path)
        return fd

    def reach(self, path: bytes) -> Reach:
        """Return within what something in a directory can be renamed; errors as `directory`."""
        fd = self.directory(path)
        if fd not in self._reaches:
            self._reaches[fd] = reach_of(fd)
        return self._reaches[fd]

    def entry(self, path: bytes) -> Entry:
        """Return the directory of a path, and the name in it; errors as `Beneath.entry`."""
        names = split(path)
        if not names:
            raise BadPathError("the top directory itself cannot be changed")
        return Entry(self.directory(join(names[:-1])), names[-1])

    def sync(self) -> None:
        """Have the names in all that was opened on the disk before this returns.

        Raises:
            OSError: some of them may not be.
        """
        for error in SYNCER.sync(list(self._fds.values())):
            if error is not None:
                raise error
