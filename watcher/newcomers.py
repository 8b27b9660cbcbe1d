"""Records what a first scan finds, while the scan goes on.

Where nothing was ever recorded, nothing needs to be compared, and a batch can be on its way to the
disk while the next directories are listed. Only the directories in it must wait: their numbers are
not known before their batch is stored.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future  # noqa: TC003 - as in eventlog.log
from typing import NamedTuple

from eventlog.events import State
from watcher.reconcile import File
from watcher.recorder import Recorder

BATCH = 5_000
"""Newcomers recorded in one transaction."""

UNDER_WAY_MAX = 2
"""Batches that are being recorded; a further one waits, so that nothing grows."""


class Newcomer(NamedTuple):
    """A directory that was recorded for the first time, at a path below the scan's start."""

    number: int
    path: bytes
    file: File


class _Batch(NamedTuple):
    size: int
    directories: list[Newcomer]
    first: "Future[int]"


class Newcomers:
    """Appends first states, some batches ahead of the disk.

    Args:
        recorder: records.
        author: who did it.
    """

    def __init__(self, recorder: Recorder, author: str) -> None:
        self.recorded = 0
        self._recorder = recorder
        self._author = author
        self._states: list[State] = []
        self._directories: list[Newcomer] = []
        self._under_way: deque[_Batch] = deque()

    def __len__(self) -> int:
        """How many batches are not stored yet, the one that is being filled among them."""
        return len(self._under_way) + bool(self._states)

    def add(self, state: State, path: bytes | None) -> None:
        """Take the first state of a node.

        Args:
            state: the state.
            path: of a directory that is to be listed, below the start of the scan.
        """
        if path is not None:  # its number is its index for now
            self._directories.append(Newcomer(len(self._states), path, (state.fs, state.ino)))
        self._states.append(state)
        if len(self._states) >= BATCH:
            self._submit()

    def flush(self) -> Iterator[Newcomer]:
        """Store everything; yields the directories that were not told yet. Errors as `stored`."""
        if self._states:
            self._submit()
        while self._under_way:
            yield from self._stored(self._under_way.popleft())

    def stored(self, *, starving: bool) -> Iterator[Newcomer]:
        """Yield the directories of the batches that were stored meanwhile.

        Args:
            starving: there is nothing else to list, so wait for some.

        Raises:
            LogError: a batch could not be stored; the scan must be given up.
        """
        if starving and self._states and not self._under_way:
            self._submit()
        while self._under_way and (starving or self._is_due()):
            starving = False
            yield from self._stored(self._under_way.popleft())

    def _is_due(self) -> bool:
        return len(self._under_way) > UNDER_WAY_MAX or self._under_way[0].first.done()

    def _submit(self) -> None:
        first = self._recorder.begin(self._states, self._author)
        self._under_way.append(_Batch(len(self._states), self._directories, first))
        self._states, self._directories = [], []

    def _stored(self, batch: _Batch) -> Iterator[Newcomer]:
        first = batch.first.result()
        self.recorded += batch.size
        for index, path, file in batch.directories:
            yield Newcomer(first + index, path, file)
