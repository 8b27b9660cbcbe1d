"""One writing process for each database."""

import fcntl
import os

from eventlog.errors import LogInUseError, LogUnavailableError


class LogLock:
    """Holds a lock file beside the database until closed or the process ends.

    A file of its own, because closing any descriptor of the database would drop SQLite's locks.

    Args:
        path: the database file.

    Raises:
        LogInUseError: another process holds it.
        LogUnavailableError: the lock file cannot be made.
    """

    def __init__(self, path: str) -> None:
        # A database and a symbolic link to it share one lock, as they share one WAL.
        name = f"{os.path.realpath(path)}.lock"
        try:
            self._fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LogUnavailableError(f"{name}: cannot lock: {error.strerror}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise LogInUseError(path) from error

    def close(self) -> None:
        """Let the next process have it."""
        os.close(self._fd)
