"""Removes names of a directory, many by one request: REMOVE, an extension of the server.

While one request is on its way the names for the next one gather, so nobody waits for others.
"""

import asyncio
import errno
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from tools.mounting.wire import Pool

NAMES_MAX: Final = 500
"""In one request."""

STREAK_MIN: Final = 8
"""So many removals, one soon after the other, and a program is removing many."""

STREAK_SECONDS: Final = 0.5
"""Between two of them at most."""

_DONE: Final = "0"
_ELSEWHERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)


class MovedError(OSError):
    """The directory was moved, or removed, by others: nobody knows what has become of the rest."""


class Doomed(NamedTuple):
    """A name that is to go.

    Attributes:
        name: in its directory.
        inode: of what is meant on the server.
        mtime: of what is meant, nanoseconds since 1970; None: any.
    """

    name: bytes
    inode: int
    mtime: int | None

    def line(self) -> str:
        """Return it as the server reads it."""
        mtime = "" if self.mtime is None else f" {self.mtime}"
        return f"{quote_from_bytes(self.name)} {self.inode}{mtime}\n"


class Removing:
    """Removes.

    Args:
        pool: asks the server.
        path: returns the path of a directory, by its number; it may raise OSError.
    """

    def __init__(self, pool: Pool, path: Callable[[int], bytes]) -> None:
        self._pool = pool
        self._path = path
        self._waiting: dict[int, list[tuple[Doomed, asyncio.Future[None]]]] = {}
        self._workers: dict[int, asyncio.Task[None]] = {}

    async def remove(self, directory: int, doomed: Doomed) -> None:
        """Remove a name.

        Args:
            directory: number of it.
            doomed: what is to go.

        Raises:
            OSError: the server says so, or is lost.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(directory, []).append((doomed, done))
        if directory not in self._workers:
            self._workers[directory] = asyncio.create_task(self._work(directory))
        await done

    async def _work(self, directory: int) -> None:
        try:
            while waiting := self._waiting.pop(directory, []):
                for start in range(0, len(waiting), NAMES_MAX):
                    await self._send(directory, waiting[start : start + NAMES_MAX])
        finally:
            del self._workers[directory]

    async def _send(self, directory: int, batch: list[tuple[Doomed, asyncio.Future[None]]]) -> None:
        body = "".join(doomed.line() for doomed, _ in batch).encode()
        try:
            reply = await self._pool.ask("REMOVE", self._path(directory), {}, body)
        except OSError as error:
            if error.errno in _ELSEWHERE:
                error = MovedError(error.errno, "its directory is not there any more")
            for _, done in batch:
                _tell(done, error)
            return
        told = reply.body.decode("latin-1").split()
        for (_, done), how in zip(batch, told + ["EIO"] * len(batch), strict=False):
            _tell(done, None if how == _DONE else _error(how))


def _tell(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():
        return  # whoever waited has given up
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


def _error(name: str) -> OSError:
    number = getattr(errno, name, None)
    return OSError(number if isinstance(number, int) else errno.EIO, name)


class Streak:
    """Tells a program that removes one file after the other from one that removes a file."""

    def __init__(self) -> None:
        self._length = 0
        self._last = float("-inf")

    def note(self, now: float) -> bool:
        """Note a removal; returns whether it is one of many.

        Args:
            now: seconds of any clock that only goes on.
        """
        self._length = self._length + 1 if now - self._last < STREAK_SECONDS else 1
        self._last = now
        return self._length > STREAK_MIN
