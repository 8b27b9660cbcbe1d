"""A disk whose files change their names too: what a power cut leaves of new, moved and old ones.

The content of a file is as in `tests.crash.disk`. A name is on the disk when its directory was
synced. Of what happened to names since then, any part may be on the disk.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from eventlog.durable import Calls
from tests.crash.disk import Create, Delete, File, Op, Sync, Told, Truncate, Write


class Rename(NamedTuple):
    old: str
    new: str


class Link(NamedTuple):
    old: str
    new: str


class Remove(NamedTuple):
    name: str


class SyncContent(NamedTuple):
    """As `Sync`, by a program that does not sync the directory with it."""

    name: str


class SyncNames(NamedTuple):
    """All directories of the disk are synced; which one makes no difference here."""


class Done(NamedTuple):
    """Not of the disk: what was asked for was done by now, says the program."""


AnyOp = Op | Rename | Link | Remove | SyncContent | SyncNames | Done
NameOp = Callable[[dict[str, File]], None]


@dataclass
class NamedDisk:
    """Files with names, in one directory."""

    files: dict[str, File] = field(default_factory=dict)
    kept: dict[str, File] = field(default_factory=dict)
    pending: list[tuple[str, NameOp]] = field(default_factory=list)
    is_done: bool = False

    @classmethod
    def holding(cls, content: dict[str, bytes]) -> "NamedDisk":
        """Return a disk on which some files surely are."""
        files = {name: File(bytearray(data)) for name, data in content.items()}
        return cls(dict(files), dict(files))

    def apply(self, op: AnyOp) -> None:
        match op:
            case Write() | Truncate():
                self.files[op.name].pending.append(op)
            case Sync(name):
                self.files[name].sync()
                self._settle(name)  # SQLite syncs the directory with the first sync of a new file
            case SyncContent(name):
                self.files[name].sync()
            case Done():
                self.is_done = True
            case Told():
                raise AssertionError("no log is written here")
            case _:
                self._rename(op)

    def _rename(self, op: Create | Delete | Rename | Link | Remove | SyncNames) -> None:
        match op:
            case Create(name):
                self._change(name, _put(name, File()))
            case Delete(name, _) | Remove(name):
                self._change(name, _take(name))
            case Link(old, new):
                self._change(new, _put(new, self.files[old]))
            case Rename(old, new):
                self._change(new, _move(old, new, self.files[old]))
            case SyncNames():
                self.kept, self.pending = dict(self.files), []

    def _change(self, name: str, change: NameOp) -> None:
        change(self.files)
        self.pending.append((name, change))

    def _settle(self, name: str) -> None:
        for pending, change in self.pending:
            if pending == name:
                change(self.kept)
        self.pending = [pair for pair in self.pending if pair[0] != name]

    def after_cut(self, random: Random) -> dict[str, bytes]:
        """Return what is there after a power cut now."""
        names, share = dict(self.kept), random.choice((0.0, 0.5, 1.0))
        for _, change in self.pending:
            if random.random() < share:
                change(names)
        contents = {id(file): file.after_cut(random) for file in names.values()}
        return {name: contents[id(file)] for name, file in names.items()}


def _put(name: str, file: File) -> NameOp:
    return lambda names: names.update({name: file})


def _take(name: str) -> NameOp:
    return lambda names: names.update({}) if names.pop(name, None) is None else None


def _move(old: str, new: str, file: File) -> NameOp:
    def move(names: dict[str, File]) -> None:
        names.pop(old, None)
        names[new] = file

    return move


class WatchedCalls(Calls):
    """The operating system, with an observer of whatever changes a file.

    Syncs are told, not done.

    Args:
        observer: is told of each operation before it is done; what it raises fails the operation.
    """

    def __init__(self, observer: Callable[[AnyOp], None]) -> None:
        self._observer = observer
        self._names: dict[int, str] = {}
        self._ends: dict[int, int] = {}

    def create(self, path: Path) -> int:
        self._observer(Create(path.name))
        descriptor = super().create(path)
        self._names[descriptor], self._ends[descriptor] = path.name, 0
        return descriptor

    def open(self, path: Path) -> int:
        if not path.exists():
            self._observer(Create(path.name))
        descriptor = super().open(path)
        self._names[descriptor], self._ends[descriptor] = path.name, 0
        return descriptor

    def truncate(self, descriptor: int) -> None:
        self._observer(Truncate(self._names[descriptor], 0))
        super().truncate(descriptor)

    def write(self, descriptor: int, data: bytes) -> None:
        self._observer(Write(self._names[descriptor], self._ends[descriptor], data))
        self._ends[descriptor] += len(data)
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._observer(SyncContent(self._names[descriptor]))

    def rename(self, old: Path, new: Path) -> None:
        self._observer(Rename(old.name, new.name))
        super().rename(old, new)

    def link(self, old: Path, new: Path) -> None:
        self._observer(Link(old.name, new.name))
        super().link(old, new)

    def remove(self, path: Path) -> None:
        if path.exists():
            self._observer(Remove(path.name))
        super().remove(path)

    def sync_directory(self, path: Path) -> None:  # noqa: ARG002 - see SyncNames
        self._observer(SyncNames())


def cuts(ops: list[AnyOp], disk: NamedDisk, places: list[int]) -> Iterator[NamedDisk]:
    """Yield the disk as it is when the power goes at each of some places, which are in order."""
    done = 0
    for place in places:
        for op in ops[done:place]:
            disk.apply(op)
        done = place
        yield disk
