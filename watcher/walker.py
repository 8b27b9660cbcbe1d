"""A process that walks for a scan: lists directories, or says which are not as they are known.

It decides nothing and records nothing. Whatever it does not understand at once it leaves to the
server: another filesystem, an error, a name that has just gone, the least difference. The watch on
what it lists was there before it began (`watcher.backend.Foresighted`).
"""

import contextlib
import gc
import socket
from stat import S_ISDIR

from eventlog.codec import begins_with, decode, stored_fields
from eventlog.connection import open_reader
from projections.tree import TOGETHER, Tree, state_of
from watcher.finder import Finder
from watcher.listing import Lister, Listing, NotPlainError
from watcher.observation import unchanged_since
from watcher.walk import (
    DIRECTORY_COST,
    ENTRIES,
    LENGTH,
    Task,
    Todo,
    Walked,
    decode_rules,
    decode_task,
    frame,
)


def serve(channel: socket.socket) -> None:
    """Work off tasks until the other side closes the channel.

    Args:
        channel: brings `Rules` with a descriptor of the directory in which the scan begins, then
            tasks; takes what came of them.
    """
    gc.disable()  # nothing here makes cycles
    beginning, [root_fd], _, _ = socket.recv_fds(channel, LENGTH.size, 1)
    rules = decode_rules(_receive(channel, LENGTH.unpack(beginning)[0]))
    lister = Lister(rules, root_fd)
    finder = Finder(lister, rules.devices, root_fd)
    with contextlib.closing(open_reader(rules.database)) as connection:
        comparer = Comparer(lister, rules.devices, Tree(connection))
        while beginning := _receive(channel, LENGTH.size):
            task = decode_task(_receive(channel, LENGTH.unpack(beginning)[0]))
            done = finder.find(task) if task.fresh else comparer.compare(task)
            channel.sendall(frame(done))


def _receive(channel: socket.socket, size: int) -> bytes:
    """Return so many bytes; none when the other side has closed the channel."""
    return channel.recv(size, socket.MSG_WAITALL)


class Comparer:
    """Compares directories with what is known of them.

    Args:
        lister: lists them.
        devices: identities of filesystems, by device number.
        tree: what is known.
    """

    def __init__(self, lister: Lister, devices: dict[int, int], tree: Tree) -> None:
        self._lister = lister
        self._devices = devices
        self._tree = tree

    def compare(self, task: Task) -> Walked:
        """Compare directories and what is below them, for a while."""
        done = Walked(0, [], [], [], task.todos)
        spent = 0
        while done.todos and spent < ENTRIES:
            some = done.todos[-TOGETHER:]
            del done.todos[-TOGETHER:]
            before = done.entries
            self._compare_some(some, done)
            spent += done.entries - before + len(some) * DIRECTORY_COST
        return done

    def _compare_some(self, todos: list[Todo], done: Walked) -> None:
        """Compare some directories with what is known of them, which is asked for last."""
        listings: list[Listing] = []
        for todo in todos:
            try:
                listings.append(self._lister.list(todo))
            except (NotPlainError, OSError):
                done.others.append(todo)
        known = self._tree.records([listing.todo.number for listing in listings])
        for listing, records in zip(listings, known, strict=True):
            try:
                below = self._below(listing, records)
            except (NotPlainError, OverflowError):  # MessagePack holds 64 bits
                done.others.append(listing.todo)
            else:
                done.add(listing.todo.number, listing.key, len(records), below)

    def _below(self, listing: Listing, known: dict[bytes, tuple[int, bytes]]) -> list[Todo]:
        """Return the directories in one all of whose entries are as they are known."""
        devices, below = self._devices, []
        parent, prefix = listing.todo.number, listing.prefix
        if len(known) != len(listing.names):
            raise NotPlainError
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
                raise NotPlainError
        return below


def _unknown() -> tuple[int, bytes]:
    raise NotPlainError
