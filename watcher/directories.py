"""Finds the directory of a node number on the disk, whatever its path has become.

A directory is opened by the path that the tree knows and believed only when it is the very file
that the node stands for. A few descriptors are kept, because hints come in bursts.
"""

import errno
import os
import resource
from collections import OrderedDict
from collections.abc import Callable

from projections.tree import Tree
from watcher.reconcile import File
from watcher.root import RootAbsentError

OPEN_MAX = 256
"""Descriptors kept. Each also keeps its filesystem busy, so they are closed when idle."""

OPEN_MIN = 8

PIECE_MAX = 3_000
"""Bytes of path resolved by one call; the kernel refuses 4,096."""

_ELSEWHERE = (errno.ELOOP, errno.ENAMETOOLONG)
"""A symbolic link has its place; the path is longer than one call takes."""

FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
"""How a directory is opened to be listed."""

FileOf = Callable[[int], File]
"""Returns which file an open descriptor stands for."""


class Directories:
    """Opens directories of one root by node number.

    Args:
        tree: a reader's tree; all events of this root are committed when it is asked.
        file_of: which file a descriptor stands for.
        open_max: descriptors kept.
    """

    def __init__(self, tree: Tree, file_of: FileOf, open_max: int = OPEN_MAX) -> None:
        self._tree = tree
        self._file_of = file_of
        self._open_max = open_max
        self._open: OrderedDict[int, int] = OrderedDict()
        self._opened = False
        self._root = 0
        self._open_root: Callable[[], int] = _no_root

    def set_root(self, number: int, open_root: Callable[[], int]) -> None:
        """Say which directory all others are below.

        Args:
            number: its node number.
            open_root: opens it, or raises RootAbsentError when it is not there.
        """
        self.close()
        self._root = number
        self._open_root = open_root

    def fd(self, number: int) -> int | None:
        """Return a descriptor of a directory, valid until the next call; do not close it.

        Returns:
            The descriptor, or None when the tree's path does not lead to that directory: it was
            moved or removed, and the kernel has hinted at that or will.

        Raises:
            OSError: the disk is in trouble; says nothing about whether the directory exists.
            RootAbsentError: the root is not there.
        """
        fd = self._open.get(number)
        if fd is not None:
            self._open.move_to_end(number)
            return fd
        if number == self._root:
            return self._keep(number, self._open_root())
        return self._resolve(number)

    def fd_below(self, parent: int, name: bytes, number: int, file: File) -> int | None:
        """As `fd`, for a directory just seen under a name in another one: asks no tree.

        Args:
            parent: number of the other one.
            name: its name there.
            number: its own number.
            file: which file it must be.
        """
        if number in self._open:
            return self.fd(number)
        above = self.fd(parent)
        return None if above is None else self._enter(above, name, number, file)

    def enter(self, above: int, path: bytes, file: File) -> int | None:
        """Open a directory by a path; asks no tree.

        Args:
            above: descriptor of the directory that the path begins in.
            path: below it.
            file: which file it must be.

        Returns:
            A descriptor, to be closed by the caller; None when another file or none is there.

        Raises:
            OSError: the disk is in trouble, or it cannot be opened.
        """
        try:
            fd = os.open(path, FLAGS, dir_fd=above)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno in _ELSEWHERE:
                return None
            raise
        return fd if self._is(fd, file) else None

    def _is(self, fd: int, file: File) -> bool:
        """Say whether a descriptor stands for a file; else, or on an error, it is closed."""
        is_it = False
        try:
            is_it = self._file_of(fd) == file
        finally:
            if not is_it:
                os.close(fd)
        return is_it

    def is_foreign(self, number: int) -> bool:
        """Say whether a directory is known to be below another root."""
        chain = self._tree.chain(number)  # empty for what hangs in a circle for a moment
        return bool(chain) and chain[0][0] != self._root

    def were_opened(self) -> bool:
        """Say whether any were opened, and kept, since this was last asked."""
        opened, self._opened = self._opened, False
        return opened

    def forget(self, number: int) -> None:
        """Close the descriptor of a directory that is gone."""
        fd = self._open.pop(number, None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Close everything, so that nothing keeps a filesystem busy while all is quiet."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _resolve(self, number: int) -> int | None:
        chain = self._tree.chain(number)
        top = self.fd(self._root) if chain and chain[0][0] == self._root else None
        if top is None:
            return None
        fd = top
        for piece in _pieces([name for _, name in chain[1:-1]]):
            try:
                above = os.open(piece, FLAGS, dir_fd=fd)
            except (FileNotFoundError, NotADirectoryError):
                return None
            finally:
                if fd != top:
                    os.close(fd)
            fd = above
        try:
            node = self._tree.node(number)
            file = (node.state.fs, node.state.ino) if node else None
            return file and self._enter(fd, chain[-1][1], number, file)
        finally:
            if fd != top:
                os.close(fd)

    def _enter(self, above: int, name: bytes, number: int, file: File) -> int | None:
        fd = self.enter(above, name, file)
        return None if fd is None else self._keep(number, fd)

    def _keep(self, number: int, fd: int) -> int:
        self._open[number] = fd
        self._opened = True
        if len(self._open) > self._open_max:
            os.close(self._open.popitem(last=False)[1])
        return fd


def directories_max(roots: int) -> int:
    """Return how many descriptors each root may keep of those that the process may have.

    Half of them are for connections; a quarter of the others will do.

    Args:
        roots: how many there are.
    """
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return OPEN_MAX
    return max(OPEN_MIN, min(OPEN_MAX, descriptors // 8 // roots))


def _no_root() -> int:
    raise RootAbsentError("it was not found yet")


def _pieces(names: list[bytes]) -> list[bytes]:
    """Join names to relative paths that are short enough for one call each."""
    pieces: list[bytes] = []
    for name in names:
        if pieces and len(pieces[-1]) + len(name) < PIECE_MAX:
            pieces[-1] += b"/" + name
        else:
            pieces.append(name)
    return pieces
