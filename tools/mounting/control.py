"""Tells `nasfeed unmount` how far a mount is, over a socket that only this machine's users see.

When a mount is taken away the kernel waits for nothing, and whoever took it away hears nothing. So
it asks here first, and again what has been lost when the mount has ended. Lines go one way: how
many files are still to be sent, those that wait, those that are lost, and that this was all.
"""

import asyncio
import contextlib
import errno
import os
import re
import socket
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote_from_bytes

UNSENT: Final = b"unsent"
"""Begins a line with a number."""

WAITING: Final = b"waiting"
"""Begins a line with a path, percent-encoded: a file that is not on the server yet."""

LOST: Final = b"lost"
"""Begins a line with a path, percent-encoded: a file that never will be."""

END: Final = b"end"
"""Begins the last line, with the number of lost files: all that could be sent was."""

PAUSE_SECONDS: Final = 0.2

NAMES_MAX: Final = 100
"""Files that are named; all are counted."""

KIND: Final = "fuse.spockfs"

_ESCAPED: Final = re.compile(rb"\\([0-7]{3})")
_CREDENTIALS: Final = struct.Struct("3i")


class Mountpoint(NamedTuple):
    """What the kernel says of a mount.

    Attributes:
        device: its number, as text.
        kind: of filesystem.
        uid: whose it is; None when it does not say.
    """

    device: str
    kind: str
    uid: int | None

    @property
    def address(self) -> str:
        """Name of the socket, in the kernel's table and not in any directory; see unix(7)."""
        return f"\0nasfeed-mount-{self.device}"


def find(directory: bytes, table: bytes | None = None) -> Mountpoint | None:
    """Return what is mounted at a directory, or None.

    It is not looked at: a mount whose server is gone would not answer.

    Args:
        directory: absolute, without links.
        table: of the kernel, see proc_pid_mountinfo(5); what this process sees when None.
    """
    text = Path("/proc/self/mountinfo").read_bytes() if table is None else table
    for line in reversed(text.splitlines()):  # the last hides those before
        _, _, device, _, where, *_ = line.split(b" ", 5)
        if _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), where) == directory:
            kind, _, options = line.partition(b" - ")[2].split(b" ", 2)
            uid = re.search(rb"\buser_id=([0-9]+)", options)
            return Mountpoint(device.decode(), kind.decode(), int(uid[1]) if uid else None)
    return None


def place(directory: str) -> str:
    """Return where a directory really is, without asking for what is mounted there."""
    above, name = os.path.split(os.path.abspath(directory))  # noqa: PTH100 - as text
    return os.path.join(os.path.realpath(above), name)  # noqa: PTH118 - as text


def peer_uid(connection: socket.socket) -> int:
    """Return who is at the other end, as the kernel knows; see SO_PEERCRED in unix(7)."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


class Progress(Protocol):
    """What is on its way."""

    def unsent(self) -> int:
        """Return how many files are not on the server yet, as they are to be."""
        ...

    def waiting(self) -> Iterable[bytes]:
        """Return their paths."""
        ...

    def lost(self) -> Sequence[bytes]:
        """Return the paths of files that could not be sent."""
        ...


class Control:
    """Listens.

    Args:
        progress: what is told.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def listen(self, directory: str) -> None:
        """Listen, once it is mounted; without that, only the mount itself says what is lost.

        Args:
            directory: where, see `place`.

        Raises:
            OSError: the kernel does not know the mount, or somebody else listens.
        """
        mount = find(os.fsencode(directory))
        if mount is None:
            raise OSError(errno.ENOENT, "it is not among the mounts of this process")
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(mount.address)
        except OSError:
            listening.close()
            raise
        self._listener = await asyncio.start_unix_server(self._answer, sock=listening)

    async def close(self) -> None:
        """Tell all who asked what was lost: nothing more will be sent."""
        self._over.set()
        if self._listener is not None:
            self._listener.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PAUSE_SECONDS * 10)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError):  # whoever asked has gone
            if peer_uid(writer.get_extra_info("socket")) in (0, os.geteuid()):
                await self._tell(writer)
        writer.close()

    async def _tell(self, writer: asyncio.StreamWriter) -> None:
        progress, over = self._progress, self._over
        while not over.is_set():
            _name(writer, WAITING, progress.waiting())
            writer.write(b"%b %d\n" % (UNSENT, progress.unsent()))
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await over.wait()
        lost = progress.lost()
        _name(writer, LOST, lost)
        writer.write(b"%b %d\n" % (END, len(lost)))
        await writer.drain()


def _name(writer: asyncio.StreamWriter, what: bytes, paths: Iterable[bytes]) -> None:
    for path, _ in zip(paths, range(NAMES_MAX), strict=False):
        writer.write(b"%b %b\n" % (what, quote_from_bytes(path).encode()))
