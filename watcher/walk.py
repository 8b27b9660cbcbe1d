"""What the server and the processes that walk for it tell each other. Values only."""

import struct
from typing import NamedTuple

import msgspec

from watcher.reconcile import File

LENGTH = struct.Struct("<I")
"""Before each message: how many bytes it has."""


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
    """Directories to be compared with what is known of them, with some of what is below them."""

    todos: list[Todo]


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


encode = msgspec.msgpack.Encoder().encode
decode_rules = msgspec.msgpack.Decoder(Rules).decode
decode_task = msgspec.msgpack.Decoder(Task).decode
decode_walked = msgspec.msgpack.Decoder(Walked).decode


def frame(message: Rules | Task | Walked) -> bytes:
    """Return a message as it travels."""
    body = encode(message)
    return LENGTH.pack(len(body)) + body
