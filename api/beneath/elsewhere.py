"""Where new files are written that cannot be written in the server's own directory of a root.

A file can be renamed only within a mounted filesystem, and others may be mounted below a root. On
such a one new files are written in its uppermost directory, and that is noted in the server's own,
so that whoever sweeps knows where to look. A note is never removed: there is one for each
filesystem.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import Final

from api.beneath.reach import uppermost
from api.beneath.root import Beneath

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY


class Elsewhere:
    """Finds and notes such directories.

    Args:
        beneath: access to the root.
        notes: the directory for notes, in one that exists.
    """

    def __init__(self, beneath: Beneath, notes: bytes) -> None:
        self._beneath = beneath
        self._notes = notes
        self._noted: set[bytes] = set()

    def open(self, names: tuple[bytes, ...]) -> int:
        """Open the uppermost directory of a filesystem, once that is noted durably.

        Args:
            names: of the path of a directory on it.

        Returns:
            A descriptor, to be closed by the caller.

        Raises:
            OSError: nothing can be written there.
        """
        path = uppermost(self._beneath, names)
        fd = self._beneath.open(path, _DIRECTORY)
        try:
            self._note(path)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def directories(self) -> Iterator[bytes]:
        """Yield the paths of all that are noted."""
        try:
            with self._beneath.directory(self._notes) as fd:
                names = os.listdir(fd)  # noqa: PTH208 - of a descriptor
        except FileNotFoundError:
            return
        for name in names:
            path = self._read(os.fsencode(name))
            if _name_of(path) == os.fsencode(name):  # else a power cut left half of it
                yield path

    def _note(self, path: bytes) -> None:
        if path in self._noted:
            return
        with contextlib.suppress(FileExistsError), self._beneath.entry(self._notes) as entry:
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
        with self._beneath.directory(self._notes) as fd:
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            note = os.open(_name_of(path), flags, 0o600, dir_fd=fd)
            try:
                os.pwrite(note, path, 0)
                os.fsync(note)
            finally:
                os.close(note)
            os.fsync(fd)
        self._noted.add(path)

    def _read(self, name: bytes) -> bytes:
        fd = self._beneath.open(self._notes + b"/" + name, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            return file.read()


def _name_of(path: bytes) -> bytes:
    return hashlib.sha256(path).hexdigest().encode()
