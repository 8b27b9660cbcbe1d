"""Random histories of file operations on real directories, of the kinds that break change feeds."""

import ctypes
import errno
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

Operation = Callable[[], None]

_libc = ctypes.CDLL(None, use_errno=True)
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100

NAMES = [
    b"a",
    b"b",
    b"c.txt",
    b"d d",
    "é".encode(),
    b"\xff\xfe",
    b"new\nline",
    b"x" * 40,
    b"%2e",
    b"keep.__tmp__",
    b".DS_Store",
]
"""Few, so that names are used again and again; some hostile, the last two excluded."""


OWN = b".nasfeed"
"""What the server keeps for itself in a root."""


def exchange(one: bytes, other: bytes) -> None:
    """Swap two names atomically (renameat2 with RENAME_EXCHANGE)."""
    if _libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), "renameat2")


def walk(top: bytes) -> Iterator[tuple[bytes, list[bytes], list[bytes]]]:
    """Walk a directory, but not what the server keeps for itself in it."""
    for path, directories, files in os.walk(top):
        if path == top:
            directories[:] = [name for name in directories if name != OWN]
        yield path, directories, files


class History:
    """Does random operations below some directories.

    Args:
        roots: directories that are watched.
        outside: one that is not, on the same filesystem.
        seed: of the random choices.
        links: make hard links too. What is written through one that is gone before anyone looks
            changes the others without any kernel interface telling: only a comparison finds it.
    """

    def __init__(self, roots: list[Path], outside: Path, seed: int, *, links: bool = False) -> None:
        self._random = random.Random(seed)
        self._roots = [os.fsencode(root) for root in roots]
        self._outside = os.fsencode(outside)
        self._clock = 1_000_000_000
        self._operations: list[tuple[int, Operation]] = [
            (10, self._create),
            (6, self._append),
            (3, self._truncate),
            (3, self._set_time),
            (2, self._chmod),
            (5, self._atomic_save),
            (3, self._editor_save),
            (2, self._rewrite_in_place),
            (12, self._rename),
            (3, self._exchange),
            (5, self._deep_directories),
            (4, self._remove_tree),
            (6, self._unlink),
            (3, self._file_to_directory),
            (3 if links else 0, self._link),
            (3, self._symlink),
            (1, self._fifo),
            (3, self._move_out),
            (4, self._move_in),
            (2, self._empty_directory),
        ]

    def run(self, count: int) -> None:
        """Do so many operations; what cannot be done is skipped, as with any program."""
        weights = [weight for weight, _ in self._operations]
        chosen = self._random.choices([op for _, op in self._operations], weights, k=count)
        for operation in chosen:
            try:
                operation()
            except (OSError, shutil.Error):
                continue

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice([0, 1, 10, 10, 5000]))

    def _directories(self, top: bytes) -> list[bytes]:
        return [path for path, _, _ in walk(top)]

    def _directory(self) -> bytes:
        return self._random.choice(self._directories(self._random.choice(self._roots)))

    def _new(self) -> bytes:
        return self._directory() + b"/" + self._random.choice(NAMES)

    def _any(self) -> bytes:
        top = self._random.choice(self._roots)
        found = [p + b"/" + n for p, ds, fs in walk(top) for n in ds + fs]
        return self._random.choice(found or [top + b"/nothing"])

    def _file(self) -> bytes:
        top = self._random.choice(self._roots)
        found = [
            p + b"/" + n
            for p, _, fs in walk(top)
            for n in fs
            if not os.path.islink(p + b"/" + n) and os.path.isfile(p + b"/" + n)
        ]
        return self._random.choice(found or [top + b"/nothing"])

    def _open(self, path: bytes, flags: int) -> int:
        """Open a regular file, never what a link points to: the history must not leave its own."""
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "no regular file", path)
        return fd

    def _write(self, path: bytes, flags: int, data: bytes) -> None:
        fd = self._open(path, os.O_WRONLY | flags)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def _replace(self, path: bytes) -> None:
        self._write(path, os.O_CREAT | os.O_TRUNC, self._bytes())

    def _create(self) -> None:
        self._replace(self._new())

    def _append(self) -> None:
        self._write(self._file(), os.O_APPEND, self._bytes())

    def _truncate(self) -> None:
        fd = self._open(self._file(), os.O_WRONLY)
        try:
            os.ftruncate(fd, self._random.choice([0, 3, 100]))
        finally:
            os.close(fd)

    def _set_time(self) -> None:
        self._clock += 1
        os.utime(self._any(), (self._clock, self._clock), follow_symlinks=False)

    def _chmod(self) -> None:
        fd = self._open(self._file(), os.O_RDONLY)
        try:
            os.fchmod(fd, self._random.choice([0o644, 0o600, 0o755]))
        finally:
            os.close(fd)

    def _atomic_save(self) -> None:
        target = self._file()
        temporary = target + b".tmp"
        self._replace(temporary)
        os.rename(temporary, target)

    def _editor_save(self) -> None:
        target = self._file()
        os.rename(target, target + b"~")
        self._replace(target)
        if self._random.random() < 0.7:
            os.unlink(target + b"~")

    def _rewrite_in_place(self) -> None:
        """Other bytes, same size, same modification time: only the change time tells."""
        fd = self._open(self._file(), os.O_RDWR)
        try:
            before = os.fstat(fd)
            os.pwrite(fd, self._random.randbytes(before.st_size), 0)
            os.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        finally:
            os.close(fd)

    def _rename(self) -> None:
        os.rename(self._any(), self._new())

    def _exchange(self) -> None:
        exchange(self._any(), self._any())

    def _deep_directories(self) -> None:
        top = self._new()
        if os.path.islink(top):
            return
        deep = b"/".join([top, *self._random.choices(NAMES[:6], k=self._random.randint(1, 4))])
        os.makedirs(deep, exist_ok=True)
        for name in self._random.sample(NAMES, 2):
            self._replace(deep + b"/" + name)
        if self._random.random() < 0.3:
            os.rename(top, self._new())

    def _remove_tree(self) -> None:
        path = self._any()
        if os.path.isdir(path):  # rmtree opens what it is given, and a FIFO would block
            shutil.rmtree(path)

    def _unlink(self) -> None:
        os.unlink(self._any())

    def _file_to_directory(self) -> None:
        path = self._any()
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
            self._replace(path)
        else:
            os.unlink(path)
            os.mkdir(path)
            self._replace(path + b"/inside")

    def _link(self) -> None:
        os.link(self._file(), self._new())

    def _symlink(self) -> None:
        targets = [b".", b"..", b"nowhere", self._any(), self._outside, self._outside + b"/0"]
        os.symlink(self._random.choice(targets), self._new())

    def _fifo(self) -> None:
        os.mkfifo(self._new())

    def _move_out(self) -> None:
        os.rename(self._any(), b"%s/%d" % (self._outside, self._random.randrange(5)))

    def _move_in(self) -> None:
        name = b"%s/%d" % (self._outside, self._random.randrange(5))
        if not os.path.lexists(name):
            os.makedirs(name + b"/p/q")
            self._replace(name + b"/p/q/f")
            self._replace(name + b"/f")
        os.rename(name, self._new())

    def _empty_directory(self) -> None:
        os.mkdir(self._new())
