"""Opens exactly the file that a task means, and nothing else."""

import errno
import os
import stat

from watcher.metadata.task import Task
from watcher.times import storable_ns

_PATH_BYTES_MAX = 4095
"""PATH_MAX without the zero byte (limits.h)."""
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})
_ENTER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY


class ChangedError(Exception):
    """The path does not, or no longer, lead to the version of the file that is meant."""


def is_same(task: Task, found: os.stat_result) -> bool:
    """Whether a file is the regular file, in the version, that a task means."""
    return (
        found.st_ino == task.ino
        and found.st_size == task.size
        and storable_ns(found.st_mtime_ns) == task.mtime_ns
        and storable_ns(found.st_ctime_ns) == task.ctime_ns
        and stat.S_ISREG(found.st_mode)
    )


def open_same(task: Task) -> int:
    """Open the file of a task for reading, without following a link or touching its access time.

    It is looked at before it is opened: O_PATH neither waits for a FIFO's writer nor wakes a
    device, and /proc then leads to the very same file, whatever happens to its name. A plain
    open may then wait (up to /proc/sys/fs/lease-break-time) for another program, as Samba, to
    give back its lease; with O_NONBLOCK it would fail instead.

    Returns:
        A descriptor, to be closed by the caller.

    Raises:
        ChangedError: there is another file, or none.
        OSError: it may not or cannot be opened.
    """
    try:
        look = _look(task.path)
    except OSError as error:
        if error.errno in _GONE:
            raise ChangedError from None
        raise
    try:
        if not is_same(task, os.fstat(look)):
            raise ChangedError
        return _open_for_reading(f"/proc/self/fd/{look}")
    finally:
        os.close(look)


def _look(path: bytes) -> int:
    """Open a path as a mere place; in steps if it is too long for one system call."""
    directory: int | None = None
    try:
        while len(path) > _PATH_BYTES_MAX:
            cut = path.rindex(b"/", 0, _PATH_BYTES_MAX)
            deeper = os.open(path[:cut], _ENTER, dir_fd=directory)
            _close(directory)
            directory, path = deeper, path[cut + 1 :]
        return os.open(path, _LOOK, dir_fd=directory)
    finally:
        _close(directory)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def _open_for_reading(path: str) -> int:
    try:
        return os.open(path, _READ | os.O_NOATIME)
    except PermissionError:  # only the owner may keep the access time; or nobody may read at all
        return os.open(path, _READ)
