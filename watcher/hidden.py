"""Names that are there and must not be in the feed."""

import os
from collections.abc import Iterable, Mapping

from watcher.excludes import Excludes

PrivateFiles = Mapping[tuple[int, int], frozenset[bytes]]
"""For a directory (st_dev, st_ino) the names in it that belong to the server itself."""


def private_files(paths: Iterable[bytes]) -> PrivateFiles:
    """Return where the server's own files lie, in a form that holds however a root reaches them.

    Args:
        paths: absolute paths, in directories that exist; the files themselves need not.

    Raises:
        OSError: a directory is missing.
    """
    found: dict[tuple[int, int], frozenset[bytes]] = {}
    for path in paths:
        directory, name = os.path.split(path)
        facts = os.stat(directory or b".")  # noqa: PTH116 - bytes
        key = (facts.st_dev, facts.st_ino)
        found[key] = found.get(key, frozenset()) | {name}
    return found


class Hidden:
    """Says of names whether they are excluded, or files of the server itself.

    Args:
        excluded: whether a name is excluded from the feed.
        private: the server's own files.
    """

    def __init__(self, excluded: Excludes, private: PrivateFiles) -> None:
        self.is_excluded = excluded
        self._hides = excluded.hides
        self._private = private
        self._names = frozenset(name for names in private.values() for name in names)
        self._texts = frozenset(map(os.fsdecode, self._names))

    def __call__(self, directory_fd: int, name: bytes) -> bool:
        """Return whether a name in a directory must not be in the feed."""
        return self.is_excluded(name) or self.is_private(directory_fd, name)

    def hides(self, directory_fd: int, name: str) -> bool:
        """As a call, for a name that `os.scandir` has decoded already."""
        if self._hides(name):
            return True
        return name in self._texts and self.is_private(directory_fd, os.fsencode(name))

    def is_private(self, directory_fd: int, name: bytes) -> bool:
        """Return whether a name is a file of the server itself."""
        if name not in self._names:
            return False
        found = os.fstat(directory_fd)
        return name in self._private.get((found.st_dev, found.st_ino), ())
