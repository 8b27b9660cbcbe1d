"""Lists directories of the plainest kind, for processes that walk for a scan."""

import os
import sys
from itertools import islice
from typing import NamedTuple

from watcher.directories import FLAGS
from watcher.excludes import Excludes
from watcher.fanotify_kernel import HandleReader
from watcher.hidden import Hidden
from watcher.walk import Rules, Todo

ENTRIES_MAX = 20_000
"""Entries of one directory that are held at once; a larger one is left to the server."""

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class NotPlainError(Exception):
    """A directory is none that can be dealt with here."""


class Listing(NamedTuple):
    """What was found in a directory.

    Attributes:
        todo: the directory.
        key: what events name it by.
        names: raw, of what is in it and not to be hidden.
        stats: what `lstat` says of each.
    """

    todo: Todo
    key: bytes
    names: list[bytes]
    stats: list[os.stat_result]

    @property
    def prefix(self) -> bytes:
        """What the paths of its entries begin with."""
        return self.todo.path + b"/" if self.todo.path else b""


class Lister:
    """Lists directories.

    Args:
        rules: what it goes by.
        root_fd: the directory that paths begin in.
    """

    def __init__(self, rules: Rules, root_fd: int) -> None:
        private = {(device, inode): names for device, inode, names in rules.private}
        self._hides = Hidden(Excludes(rules.patterns), private).hides
        self._devices = rules.devices
        self._mounts = rules.mounts
        self._root_fd = root_fd
        self._handles = HandleReader()

    def list(self, todo: Todo) -> Listing:
        """List a directory.

        Raises:
            NotPlainError: it is another one, of a filesystem that is not known, or too large.
            OSError: it cannot be read, or a name in it has just gone.
        """
        hides = self._hides
        fd = os.open(todo.path, FLAGS, dir_fd=self._root_fd)
        try:
            key = self._key(fd, todo)
            with os.scandir(fd) as entries:
                found = list(islice(entries, ENTRIES_MAX + 1))
            if len(found) > ENTRIES_MAX:
                raise NotPlainError
            found = [entry for entry in found if not hides(fd, entry.name)]
            stats = [entry.stat(follow_symlinks=False) for entry in found]
        finally:
            os.close(fd)
        return Listing(todo, key, _encoded([entry.name for entry in found]), stats)

    def _key(self, fd: int, todo: Todo) -> bytes:
        found = os.fstat(fd)
        if (self._devices.get(found.st_dev), found.st_ino) != todo.file:
            raise NotPlainError
        mount_id, handle = self._handles.read(fd)
        mount = self._mounts.get(mount_id)
        if mount is None:
            raise NotPlainError
        return mount + handle


def _encoded(names: list[str]) -> list[bytes]:
    """Return raw names, as `os.fsencode` does one by one."""
    try:
        return [name.encode() for name in names]
    except UnicodeEncodeError:
        return [name.encode(_ENCODING, _ERRORS) for name in names]
