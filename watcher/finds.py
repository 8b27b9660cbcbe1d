"""Records what walkers find in a first scan, some batches ahead of the disk.

Directories are found before they have numbers. Until their batch is stored, something stands for
the number of each, by which walkers and the writer know it.
"""

from collections import deque
from concurrent.futures import Future  # noqa: TC003 - as in eventlog.log

import msgspec

from watcher.recorder import Recorder, Stored
from watcher.walk import Todo

BATCH = 10_000
"""Finds recorded in one transaction. In larger ones each page is written less often."""

UNDER_WAY_MAX = 2
"""Batches that are being recorded; with more, the walkers wait, so that nothing grows."""

_APART = 1 << 24
"""Between what stands for the first directories of two tasks; none finds so many."""


class Finds:
    """What walkers have found.

    Args:
        recorder: records it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._numbers: dict[int, int] = {}
        self._found: list[msgspec.Raw] = []
        self._entries = 0
        self._under_way: deque[Future[Stored]] = deque()
        self._stand_in = 0

    def __len__(self) -> int:
        """How many batches are not stored yet, or not told as stored."""
        return len(self._under_way) + bool(self._found)

    def stand_in(self) -> int:
        """Return what stands for the number of the first directory that a task finds."""
        self._stand_in -= _APART
        return self._stand_in

    def add(self, found: msgspec.Raw, entries: int) -> None:
        """Take what a task has found.

        Args:
            found: a `watcher.walk.Found`, encoded.
            entries: how many that are.
        """
        self._found.append(found)
        self._entries += entries
        if self._entries >= BATCH:
            self._submit()

    def stored(self, *, everything: bool = False) -> list[Stored]:
        """Return what was stored since.

        Args:
            everything: wait for what is under way, else only while that is too much.

        Raises:
            LogError: a batch could not be stored; the scan must be given up.
        """
        if everything and self._found:
            self._submit()
        done: list[Stored] = []
        while self._under_way and (everything or self._is_due()):
            done.append(self._under_way.popleft().result())
        return done

    def known(self, todo: Todo) -> Todo:
        """Return a directory with its own number, which is stored."""
        return todo if todo.number > 0 else todo._replace(number=self._numbers.pop(todo.number))

    def _submit(self) -> None:
        self._under_way.append(self._recorder.begin_found(self._found, self._numbers))
        self._found, self._entries = [], 0

    def _is_due(self) -> bool:
        return len(self._under_way) > UNDER_WAY_MAX or self._under_way[0].done()
