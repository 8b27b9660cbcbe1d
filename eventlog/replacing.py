"""Puts a new content in the place of a file, by one writer at a time, also for SQLite to write.

The new content is written beside the old one, synced, and renamed over it. A rename is atomic, but
it is on the disk only when its directory was synced (https://lwn.net/Articles/457667/). A
`DurableFile` does the same for files that nobody else makes, and whose content is at hand.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from eventlog.durable import SYSTEM, Calls
from eventlog.errors import LogFullError, LogUnavailableError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class NewFile:
    """The new content of a file, not in its place yet.

    Args:
        path: where it is written.
        fd: its open descriptor.
        calls: the operating system.
    """

    def __init__(self, path: Path, fd: int, calls: Calls) -> None:
        self.path = path
        self._fd = fd
        self._calls = calls

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            LogFullError: the disk is full.
            LogUnavailableError: it could not be written.
        """
        with translated_os_errors(self.path):
            self._calls.write(self._fd, data)


@contextlib.contextmanager
def replacing(path: Path, *, part: Path | None = None, calls: Calls = SYSTEM) -> Iterator[NewFile]:
    """Write a file that takes its place only when the context ends well.

    Args:
        path: the place; what is there stays until then.
        part: where it is written, in the same directory; only one at a time can be.
        calls: the operating system.

    Yields:
        The new file. An SQLite connection may write to its path as well.

    Raises:
        LogUnavailableError: someone else writes it just now, or it cannot be written.
        LogFullError: the disk is full.
    """
    part = part or path.with_name(f".{path.name}.part")
    with translated_os_errors(path):
        fd = _claim(part, calls)
    try:
        try:
            yield NewFile(part, fd, calls)
            with translated_os_errors(path):
                calls.sync(fd)
                calls.rename(part, path)
                calls.sync_directory(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):  # what went wrong first is what counts
                calls.remove(part)
            raise
    finally:
        os.close(fd)  # and with it the claim


@contextlib.contextmanager
def translated_os_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a filesystem into this package's.

    Args:
        path: the file, for the message.

    Raises:
        LogFullError: the disk is full.
        LogUnavailableError: anything else.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise LogFullError(f"{path}: the disk is full; free some space") from error
        raise LogUnavailableError(f"{path}: {error.strerror or error}") from error


def _claim(part: Path, calls: Calls) -> int:
    """Open a file that nobody else writes, and empty it.

    What a killed writer left is taken over. A lock on what was renamed into its place meanwhile is
    none on this name, so the name is looked at again.
    """
    while True:
        fd = calls.open(part)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LogUnavailableError(
                    f"{part}: another nasfeed is writing this; wait until it is done"
                ) from error
            if _is_there(part, fd):
                calls.truncate(fd)
                undo.pop_all()
                return fd


def _is_there(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
