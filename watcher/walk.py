"""What the server and the processes that walk for it tell each other. Values only."""

import struct
from typing import NamedTuple

import msgspec

from watcher.reconcile import File

LENGTH = struct.Struct("<I")
"""Before each message: how many bytes it has."""


ENTRIES = 2_000
"""After so many a walker answers, so that the server hears of it, and others get their part."""

DIRECTORY_COST = 8
"""Entries that a directory takes as long as."""


class Todo(NamedTuple):
    """A directory to be listed.

    Attributes:
        number: its node number.
        path: below the directory in which the scan began; empty for that itself.
        file: which file it must be.
    """

    number: int
    path: bytes
    file: File


class Rules(msgspec.Struct, frozen=True, array_like=True):
    """What a walker goes by.

    Attributes:
        database: path of the log.
        patterns: of names that are left out.
        private: device and inode number of directories, and names in them that belong to the
            server.
        devices: identities of filesystems, by device number; what is on others is left alone.
        mounts: for the number of each mount what keys of directories begin with; likewise.
    """

    database: str
    patterns: tuple[str, ...]
    private: tuple[tuple[int, int, frozenset[bytes]], ...]
    devices: dict[int, int]
    mounts: dict[int, bytes]


class Task(msgspec.Struct, frozen=True, array_like=True):
    """Directories to be compared with what is known of them, with some of what is below them.

    Attributes:
        todos: the directories.
        fresh: nothing is known of them: they are to be listed.
        stand_in: what stands for the number of a directory that is found; the next lower ones
            stand for the next ones. Negative; 0 in a task that finds none.
    """

    todos: list[Todo]
    fresh: bool = False
    stand_in: int = 0


class Walked(msgspec.Struct, array_like=True):
    """What came of a task.

    Attributes:
        entries: how many were compared and are as they are known.
        numbers: of the directories that hold only such entries.
        keys: for each of these what events name it by.
        others: directories of which anything else is so, even that they cannot be read.
        todos: directories that were not looked at yet.
    """

    entries: int
    numbers: list[int]
    keys: list[bytes]
    others: list[Todo]
    todos: list[Todo]

    def add(self, number: int, key: bytes, entries: int, below: list[Todo]) -> None:
        """Add a directory that is as it is known."""
        self.entries += entries
        self.numbers.append(number)
        self.keys.append(key)
        self.todos.extend(below)


class Found(msgspec.Struct, array_like=True):
    """What is in directories of which nothing is known, in columns.

    Attributes:
        directories: numbers of the directories, or what stands for them.
        counts: of entries in each.
        keys: what events name each by.
        names, filesystems, inodes, contents: of the entries; see `eventlog.arrivals.Arrivals`.
        rests: of their states; see `eventlog.codec.stored_rest`.
        below: for what stands for the numbers of directories among them: their places.
    """

    directories: list[int]
    counts: list[int]
    keys: list[bytes]
    names: list[bytes]
    filesystems: list[int]
    inodes: list[int]
    contents: list[int | None]
    rests: list[bytes]
    below: dict[int, int]


class Listed(msgspec.Struct, array_like=True):
    """What came of a task whose directories were to be listed.

    Attributes:
        entries: how many were found.
        directories: in how many.
        found: a `Found`, to be decoded by who records it.
        others: directories that were not listed, because they need more thought.
        todos: directories that were not looked at yet.
    """

    entries: int
    directories: int
    found: msgspec.Raw
    others: list[Todo]
    todos: list[Todo]


encode = msgspec.msgpack.Encoder().encode
decode_rules = msgspec.msgpack.Decoder(Rules).decode
decode_task = msgspec.msgpack.Decoder(Task).decode
decode_walked = msgspec.msgpack.Decoder(Walked).decode
decode_listed = msgspec.msgpack.Decoder(Listed).decode
decode_found = msgspec.msgpack.Decoder(Found).decode


def as_raw(found: Found) -> msgspec.Raw:
    """Return what is decoded later."""
    return msgspec.Raw(encode(found))


def frame(message: Rules | Task | Walked | Listed) -> bytes:
    """Return a message as it travels."""
    body = encode(message)
    return LENGTH.pack(len(body)) + body
