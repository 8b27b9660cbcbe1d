"""Lists directories of which nothing is known, and encodes what is in them as it is stored."""

import os
from typing import NamedTuple

from eventlog.codec import stored_rest
from eventlog.events import Content
from projections.fold_tree import signed
from watcher.listing import Lister, Listing, NotPlainError
from watcher.reconcile import File
from watcher.walk import DIRECTORY_COST, ENTRIES, Found, Listed, Task, Todo, as_raw

_FILE, _DIRECTORY, _LINK = 8, 4, 10
"""Types of files, as the upper bits of modes have them (inode(7))."""

_NONE, _PENDING = int(Content.NONE), int(Content.PENDING)


class _Columns(NamedTuple):
    """What is in a directory; see `watcher.walk.Found`."""

    filesystems: list[int]
    inodes: list[int]
    contents: list[int | None]
    rests: list[bytes]
    below: list[tuple[int, bytes, File]]


class Finder:
    """Lists directories for a first scan.

    Args:
        lister: lists them.
        devices: identities of filesystems, by device number.
        root_fd: the directory that paths begin in.
    """

    def __init__(self, lister: Lister, devices: dict[int, int], root_fd: int) -> None:
        self._lister = lister
        self._devices = devices
        self._root_fd = root_fd

    def find(self, task: Task) -> Listed:
        """List directories and what is below them, for a while."""
        found = Found([], [], [], [], [], [], [], [], {})
        todos, others = task.todos, list[Todo]()
        spent, stand_in = 0, task.stand_in
        while todos and spent < ENTRIES:
            todo = todos.pop()
            spent += DIRECTORY_COST
            try:
                listing = self._lister.list(todo)
                columns = self._columns(listing)
            except (NotPlainError, OSError, OverflowError):  # MessagePack holds 64 bits
                others.append(todo)
                continue
            start = len(found.names)
            for index, path, file in columns.below:
                found.below[stand_in] = start + index
                todos.append(Todo(stand_in, path, file))
                stand_in -= 1
            _extend(found, listing, columns)
            spent += len(listing.names)
        directories = len(found.directories)
        return Listed(len(found.names), directories, as_raw(found), others, todos)

    def _columns(self, listing: Listing) -> _Columns:
        columns = _Columns([], [], [], [], [])
        filesystems, inodes, contents, rests, below = columns
        devices, prefix = self._devices, listing.prefix
        for name, stat in zip(listing.names, listing.stats, strict=True):
            mode, inode, fs = stat.st_mode, stat.st_ino, devices.get(stat.st_dev)
            if fs is None:
                raise NotPlainError
            kind, size, links, target, content = mode >> 12, 0, stat.st_nlink, b"", _NONE
            if kind == _FILE:
                size, content = stat.st_size, _PENDING
            elif kind == _DIRECTORY:
                links = 0
                below.append((len(rests), prefix + name, (fs, inode)))
            elif kind == _LINK:
                size, target = stat.st_size, os.readlink(prefix + name, dir_fd=self._root_fd)
            state = (0, name, mode, size, stat.st_mtime_ns, stat.st_ctime_ns, fs, inode)
            rest = (stat.st_uid, stat.st_gid, links, target, content, b"", "", 0, 0, 0)
            rests.append(stored_rest(state + rest))
            filesystems.append(fs)
            inodes.append(signed(inode))
            contents.append(content or None)
        return columns


def _extend(found: Found, listing: Listing, columns: _Columns) -> None:
    found.directories.append(listing.todo.number)
    found.counts.append(len(listing.names))
    found.keys.append(listing.key)
    found.names += listing.names
    found.filesystems += columns.filesystems
    found.inodes += columns.inodes
    found.contents += columns.contents
    found.rests += columns.rests
