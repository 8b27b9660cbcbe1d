"""What a disk may hold after the power went: a model of files, syncs, and what was not synced.

Everything before the last sync of a file is there. Of what was written to it since then, any part
may be there, in any order, torn at the sectors of the disk. A file that was made or removed since
the last sync of its directory may be there or not.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from random import Random
from typing import NamedTuple

SECTOR = 512
"""Bytes that a disk writes as one; the least that it ever promised."""


class Write(NamedTuple):
    name: str
    offset: int
    data: bytes


class Truncate(NamedTuple):
    name: str
    size: int


class Sync(NamedTuple):
    name: str


class Create(NamedTuple):
    name: str


class Delete(NamedTuple):
    name: str
    synced: bool


class Told(NamedTuple):
    """Not of the disk: what someone was told by now, which no later power cut may take back."""

    positions: dict[int, tuple[int, bytes]]
    facts: dict[str, str]


Op = Write | Truncate | Sync | Create | Delete | Told
Change = Write | Truncate


@dataclass
class File:
    """One file: what is surely on the disk, and what was done since."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    linked: bool = False

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def fail_sync(self, random: Random) -> None:
        """Lose what the kernel could not write: it takes it for written, and never tries again."""
        self.pending = list(_survivors(self.pending, random))

    def visible(self) -> bytes:
        content = bytearray(self.durable)
        for change in self.pending:
            _apply(content, change)
        return bytes(content)

    def after_cut(self, random: Random) -> bytes:
        content = bytearray(self.durable)
        for change in _survivors(self.pending, random):
            _apply(content, change)
        return bytes(content)


class Disk:
    """The files of one directory."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.removed: dict[str, File] = {}
        self.told: dict[int, tuple[int, bytes]] = {}
        self.facts: dict[str, str] = {}

    def apply(self, op: Op) -> None:
        match op:
            case Write() | Truncate():
                self.files[op.name].pending.append(op)
            case Sync(name):
                self._sync(name)
            case Create(name):
                self.files[name] = File()
            case Delete(name, synced):
                self._delete(name, synced=synced)
            case Told(positions, facts):
                self.told.update(positions)
                self.facts.update(facts)

    def _sync(self, name: str) -> None:
        file = self.files[name]
        file.sync()
        if not file.linked:
            # SQLite syncs the directory with the first sync of a new file.
            self.removed.clear()
            file.linked = True

    def _delete(self, name: str, *, synced: bool) -> None:
        file = self.files.pop(name)
        if file.linked and not synced:
            self.removed[name] = file

    def visible(self) -> dict[str, bytes]:
        """Return what other processes see: a kill of the writer loses nothing of it."""
        return {name: file.visible() for name, file in self.files.items()}

    def after_cut(self, random: Random) -> dict[str, bytes]:
        """Return what is there after a power cut now."""
        kept = {name: file for name, file in self.removed.items() if random.random() < 0.5}
        kept |= {n: file for n, file in self.files.items() if file.linked or random.random() < 0.5}
        return {name: file.after_cut(random) for name, file in kept.items()}


def seeded(*seed: int) -> Random:
    """Return a source of choices that makes the same ones for the same seed."""
    return Random(repr(seed))  # noqa: S311 - to be repeated is what it is for


def restore(content: dict[str, bytes], folder: Path) -> None:
    """Write files into a folder, and nothing else."""
    for path in folder.iterdir():
        path.unlink()
    for name, data in content.items():
        (folder / name).write_bytes(data)


def _survivors(pending: list[Change], random: Random) -> Iterator[Change]:
    """Choose what of the changes that were not synced is on the disk, and in which order it came.

    A truncation stays between what came before and after it: filesystems keep that order.
    """
    share = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
    for is_write, group in groupby(pending, lambda change: isinstance(change, Write)):
        changes = [part for change in group for part in _sectors(change)]
        if is_write and random.random() < 0.5:
            random.shuffle(changes)
        yield from (change for change in changes if random.random() < share)


def _sectors(change: Change) -> Iterator[Change]:
    """Split a write where a disk may tear it."""
    if isinstance(change, Truncate):
        yield change
        return
    start, end = change.offset, change.offset + len(change.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        piece = change.data[start - change.offset : stop - change.offset]
        yield Write(change.name, start, piece)
        start = stop


def _apply(content: bytearray, change: Change) -> None:
    if isinstance(change, Truncate):
        content[change.size :] = bytes(max(0, change.size - len(content)))
        return
    missing = change.offset - len(content)
    if missing > 0:
        content.extend(bytes(missing))
    content[change.offset : change.offset + len(change.data)] = change.data
