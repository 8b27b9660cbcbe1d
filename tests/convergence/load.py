"""A load like that of fsstress, rename-heavy: `python -m tests.convergence.load DIR SEED COUNT`.

Several processes of it in one directory use the same few names, so that they meet: one renames a
directory into which another just writes, a third removes it. What cannot be done any more is
skipped. fsstress itself (of xfstests) knows file operations that no kernel interface tells of, and
is packaged nowhere.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.convergence.operations import exchange

PROCESSES = 4
COUNT = 2000
"""Operations of each."""

NAMES = 12
"""Names of each kind in a directory."""

DEPTH_MAX = 8

LOOK_EVERY = 25
"""After so many operations the directories that there are are looked for again."""


class Load:
    """Random operations of one process.

    Args:
        top: directory that it does not leave.
        seed: of the random choices.
    """

    def __init__(self, top: Path, seed: int) -> None:
        self._top = os.fsencode(top)
        self._random = random.Random(seed)
        self._directories: list[bytes] = []
        self._operations: list[tuple[int, Callable[[], None]]] = [
            (30, self._rename),
            (20, self._mkdir),
            (15, self._create),
            (6, self._append),
            (6, self._unlink),
            (4, self._rmdir),
            (3, self._exchange),
            (3, self._truncate),
            (3, self._set_times),
            (3, self._chmod),
            (3, self._symlink),
            (2, self._remove_tree),
            (1, self._fifo),
        ]

    def run(self, count: int) -> None:
        """Do so many operations; what cannot be done is skipped."""
        weights = [weight for weight, _ in self._operations]
        chosen = self._random.choices([op for _, op in self._operations], weights, k=count)
        for number, operation in enumerate(chosen):
            if number % LOOK_EVERY == 0:
                self._look()
            try:
                operation()
            except (OSError, shutil.Error):
                continue

    def _look(self) -> None:
        walk = os.walk(self._top)
        self._directories = [path for path, _, _ in walk if path.count(b"/") < self._depth_max]

    @property
    def _depth_max(self) -> int:
        return self._top.count(b"/") + DEPTH_MAX

    def _directory(self) -> bytes:
        return self._random.choice(self._directories or [self._top])

    def _name(self, kind: str) -> bytes:
        return self._directory() + f"/{kind}{self._random.randrange(NAMES)}".encode()

    def _some(self) -> bytes:
        return self._name(self._random.choice("ddf"))

    def _open(self, flags: int) -> int:
        return os.open(self._name("f"), flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)

    def _write(self, flags: int) -> None:
        fd = self._open(os.O_WRONLY | flags)
        try:
            os.write(fd, self._random.randbytes(self._random.choice([1, 10, 3000])))
        finally:
            os.close(fd)

    def _rename(self) -> None:
        kind = self._random.choice("ddf")
        os.rename(self._name(kind), self._name(kind))

    def _mkdir(self) -> None:
        os.mkdir(self._name("d"))

    def _create(self) -> None:
        self._write(os.O_CREAT)

    def _append(self) -> None:
        self._write(os.O_APPEND)

    def _unlink(self) -> None:
        os.unlink(self._name("f"))

    def _rmdir(self) -> None:
        os.rmdir(self._name("d"))

    def _exchange(self) -> None:
        exchange(self._some(), self._some())

    def _truncate(self) -> None:
        fd = self._open(os.O_WRONLY)
        try:
            os.ftruncate(fd, self._random.choice([0, 7]))
        finally:
            os.close(fd)

    def _set_times(self) -> None:
        time = self._random.randrange(1_000_000_000)
        os.utime(self._some(), (time, time), follow_symlinks=False)

    def _chmod(self) -> None:
        path = self._some()
        if not os.path.islink(path):
            os.chmod(path, self._random.choice([0o700, 0o755]))

    def _symlink(self) -> None:
        os.symlink(self._random.choice([b".", b"nowhere", self._top]), self._name("f"))

    def _remove_tree(self) -> None:
        path = self._name("d")
        if path.count(b"/") > self._depth_max - DEPTH_MAX + 1:
            shutil.rmtree(path)

    def _fifo(self) -> None:
        os.mkfifo(self._name("f"))


def start(top: Path, seed: int, count: int = COUNT) -> list[subprocess.Popen[bytes]]:
    """Start the processes of one seed, which end by themselves.

    Args:
        top: directory that they work in.
        seed: of what they do.
        count: operations of each.
    """
    words = [sys.executable, "-m", "tests.convergence.load", str(top)]
    return [
        subprocess.Popen([*words, str(seed * PROCESSES + number), str(count)])
        for number in range(PROCESSES)
    ]


def finish(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for the processes of one seed."""
    for process in processes:
        assert process.wait(300) == 0


def main() -> None:
    """Run one process."""
    parser = argparse.ArgumentParser(prog="load", description="do random file operations")
    parser.add_argument("directory", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    Load(given.directory, given.seed).run(given.count)


if __name__ == "__main__":
    main()
