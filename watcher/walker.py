"""A process that walks for a scan: compares directories and says which are not as they are known.

It decides nothing and records nothing. Whatever it does not understand at once it leaves to the
server: another filesystem, an error, a name that has just gone, the least difference. The watch on
what it lists was there before it began (`watcher.backend.Foresighted`).
"""

import contextlib
import os
import socket
import sys
from itertools import islice
from stat import S_ISDIR
from typing import NamedTuple

from eventlog.codec import begins_with, decode, stored_fields
from eventlog.connection import open_reader
from projections.tree import TOGETHER, Tree, state_of
from watcher.directories import FLAGS
from watcher.excludes import Excludes
from watcher.fanotify_kernel import HandleReader
from watcher.hidden import Hidden
from watcher.observation import unchanged_since
from watcher.walk import LENGTH, Rules, Task, Todo, Walked, decode_rules, decode_task, frame

ENTRIES = 2_000
"""After so many it answers, so that it never is long without an ear, and others get their part."""

ENTRIES_MAX = 20_000
"""Entries of one directory that are held at once; a larger one is left to the server."""

_DIRECTORY_COST = 8
"""Entries that a directory takes as long as."""

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


def serve(channel: socket.socket) -> None:
    """Work off tasks until the other side closes the channel.

    Args:
        channel: brings `Rules` with a descriptor of the directory in which the scan begins, then
            tasks; takes what came of them.
    """
    beginning, [root_fd], _, _ = socket.recv_fds(channel, LENGTH.size, 1)
    rules = decode_rules(_receive(channel, LENGTH.unpack(beginning)[0]))
    with contextlib.closing(open_reader(rules.database)) as connection:
        walker = Walker(rules, root_fd, Tree(connection))
        while beginning := _receive(channel, LENGTH.size):
            task = decode_task(_receive(channel, LENGTH.unpack(beginning)[0]))
            channel.sendall(frame(walker.walk(task)))


def _receive(channel: socket.socket, size: int) -> bytes:
    """Return so many bytes; none when the other side has closed the channel."""
    return channel.recv(size, socket.MSG_WAITALL)


class _NotPlainError(Exception):
    """A directory is not as it is known, or not one that this process understands."""


class Walker:
    """Compares directories.

    Args:
        rules: what it goes by.
        root_fd: the directory in which the scan begins.
        tree: what is known.
    """

    def __init__(self, rules: Rules, root_fd: int, tree: Tree) -> None:
        private = {(device, inode): names for device, inode, names in rules.private}
        self._hides = Hidden(Excludes(rules.patterns), private).hides
        self._devices = rules.devices
        self._mounts = rules.mounts
        self._root_fd = root_fd
        self._tree = tree
        self._handles = HandleReader()

    def walk(self, task: Task) -> Walked:
        """Compare directories and what is below them, for a while."""
        done = Walked(0, [], [], [], task.todos)
        spent = 0
        while done.todos and spent < ENTRIES:
            some = done.todos[-TOGETHER:]
            del done.todos[-TOGETHER:]
            before = done.entries
            self._compare_some(some, done)
            spent += done.entries - before + len(some) * _DIRECTORY_COST
        return done

    def _compare_some(self, todos: list[Todo], done: Walked) -> None:
        """Compare some directories with what is known of them, which is asked for last."""
        listings: list[_Listing] = []
        for todo in todos:
            try:
                listings.append(self._list(todo))
            except (_NotPlainError, OSError):
                done.others.append(todo)
        known = self._tree.records([listing.todo.number for listing in listings])
        for listing, records in zip(listings, known, strict=True):
            try:
                below = self._compare(listing, records)
            except (_NotPlainError, OverflowError):  # SQLite and MessagePack hold 64 bits
                done.others.append(listing.todo)
            else:
                done.add(listing.todo.number, listing.key, len(records), below)

    def _list(self, todo: Todo) -> "_Listing":
        fd = os.open(todo.path, FLAGS, dir_fd=self._root_fd)
        try:
            key = self._key(fd, todo)
            hides = self._hides
            with os.scandir(fd) as entries:
                found = list(islice(entries, ENTRIES_MAX + 1))
            if len(found) > ENTRIES_MAX:
                raise _NotPlainError
            found = [entry for entry in found if not hides(fd, entry.name)]
            stats = [entry.stat(follow_symlinks=False) for entry in found]
        finally:
            os.close(fd)
        return _Listing(todo, key, _encoded([entry.name for entry in found]), stats)

    def _key(self, fd: int, todo: Todo) -> bytes:
        found = os.fstat(fd)
        if (self._devices.get(found.st_dev), found.st_ino) != todo.file:
            raise _NotPlainError
        mount_id, handle = self._handles.read(fd)
        mount = self._mounts.get(mount_id)
        if mount is None:
            raise _NotPlainError
        return mount + handle

    def _compare(self, listing: "_Listing", known: dict[bytes, tuple[int, bytes]]) -> list[Todo]:
        """Return the directories in one of which all entries are as they are known."""
        todo, devices, below = listing.todo, self._devices, []
        parent, prefix = todo.number, todo.path + b"/" if todo.path else b""
        if len(known) != len(listing.names):
            raise _NotPlainError
        for name, stat in zip(listing.names, listing.stats, strict=True):
            number, record = known.get(name) or _unknown()
            mode, fs = stat.st_mode, devices.get(stat.st_dev, -1)
            if S_ISDIR(mode):
                below.append(Todo(number, prefix + name, (fs, stat.st_ino)))
            elif begins_with(
                record,
                stored_fields(
                    (
                        parent,
                        name,
                        mode,
                        stat.st_size,
                        stat.st_mtime_ns,
                        stat.st_ctime_ns,
                        fs,
                        stat.st_ino,
                        stat.st_uid,
                        stat.st_gid,
                        stat.st_nlink,
                    )
                ),
            ):
                continue
            if not unchanged_since(state_of(decode(record, 0)), stat, fs):
                raise _NotPlainError
        return below


class _Listing(NamedTuple):
    """What was found in a directory."""

    todo: Todo
    key: bytes
    names: list[bytes]
    stats: list[os.stat_result]


def _encoded(names: list[str]) -> list[bytes]:
    """Return raw names, as `os.fsencode` does one by one."""
    try:
        return [name.encode() for name in names]
    except UnicodeEncodeError:
        return [name.encode(_ENCODING, _ERRORS) for name in names]


def _unknown() -> tuple[int, bytes]:
    raise _NotPlainError
