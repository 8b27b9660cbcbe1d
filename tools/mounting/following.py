"""Has the kernel forget what the server says has changed, so that it may believe the rest for long.

Without that, what others do would show only when a time-out is over. What this mount did itself
comes back, too, and is known by inode, size and times.
"""

import asyncio
import contextlib
import errno
from typing import Final, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from tools.mounting.homes import Homes
from tools.mounting.nodes import ROOT, Node, Nodes
from tools.mounting.wire import Fields, Pool

RETRY_SECONDS: Final = 1.0

GATHER_SECONDS: Final = 0.05
"""Between two questions: what this mount does itself would be told change by change."""

_NEVER: Final = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EACCES, errno.ENOENT)
"""The server does not offer it, or not here."""


class Kernel(Protocol):
    """What the kernel can be told."""

    def invalidate_inode(self, inode: int, attr_only: bool) -> None:  # noqa: FBT001 - as the library has it
        """Have it forget attributes, and bytes, of a file; this may wait for requests."""
        ...

    def invalidate_entry_async(
        self, inode_p: int, name: bytes, deleted: int, *, ignore_enoent: bool
    ) -> None:
        """Have it forget what is at a name, soon."""
        ...


class Trust(Protocol):
    """Told whether the kernel may believe for long what it was told."""

    def __call__(self, *, trusted: bool) -> None:
        """Be told."""
        ...


class Line(NamedTuple):
    """A place that changed.

    Attributes:
        path: from the mount on, raw.
        seen: inode, size, mtime and ctime (nanoseconds) of what is there; None: nothing is.
    """

    path: bytes
    seen: tuple[int, ...] | None


class Follower:
    """Follows a server.

    Args:
        pool: asks it.
        nodes: what the kernel refers to.
        homes: directories in which nobody else has made anything.
        kernel: is told.
        trusted: told whether the kernel may believe what it was told for long.
    """

    def __init__(
        self, pool: Pool, nodes: Nodes, homes: Homes, kernel: Kernel, trusted: Trust
    ) -> None:
        self._pool = pool
        self._nodes = nodes
        self._homes = homes
        self._kernel = kernel
        self._trusted = trusted
        self._position = b""

    async def begin(self) -> None:
        """Ask where the server is, before anything is mounted: so the first that is done counts."""
        with contextlib.suppress(OSError):  # it is asked again, and may say then that it never will
            self._position = await self._step(b"")

    async def follow(self) -> None:
        """Follow until cancelled, or until the server says that it cannot be followed."""
        try:
            while True:
                try:
                    self._position = await self._step(self._position)
                    await asyncio.sleep(GATHER_SECONDS)
                except OSError as error:
                    if error.errno in _NEVER:
                        return
                    self._trusted(trusted=False)
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._trusted(trusted=False)

    async def _step(self, position: bytes) -> bytes:
        """Ask once, and return where to go on."""
        fields: Fields = {"X-Spock-position": position} if position else {}
        reply = await self._pool.ask("WATCH", b"/", fields)
        if position and b"x-spock-all" in reply.fields:  # at first there is nothing to forget
            await self._forget_all()
        for line in parse(reply.body):
            await self._tell(line)
        self._trusted(trusted=True)
        return reply.fields.get(b"x-spock-position", b"")

    async def _forget_all(self) -> None:
        self._homes.clear()
        for number in self._nodes.numbers():
            await self._invalidate(number, attr_only=False)
        for parent, name in self._nodes.names():
            self._kernel.invalidate_entry_async(parent, name, 0, ignore_enoent=True)

    async def _tell(self, line: Line) -> None:
        above, _, name = line.path.rpartition(b"/")
        parent = self._find(above)
        if parent is None:
            return
        await self._nodes.asked.answered(parent, name)
        node = self._nodes.child(parent, name)
        if node is None:
            if line.seen is None:
                return
            self._homes.notice(parent, name)
        elif _is_known(node, line):
            return
        else:
            if node.is_directory and _is_another(node, line):
                self._homes.clear()  # what becomes of it elsewhere is told of other paths
            await self._invalidate(node.number, attr_only=False)
        self._kernel.invalidate_entry_async(parent, name, 0, ignore_enoent=True)
        await self._invalidate(parent, attr_only=True)

    async def _invalidate(self, number: int, *, attr_only: bool) -> None:
        with contextlib.suppress(FileNotFoundError):  # the kernel has forgotten it by itself
            # It may wait for a request that only this thread's loop can answer.
            await asyncio.to_thread(self._kernel.invalidate_inode, number, attr_only)

    def _find(self, path: bytes) -> int | None:
        number = ROOT
        for name in path.split(b"/")[1:]:
            node: Node | None = self._nodes.child(number, name)
            if node is None:
                return None
            number = node.number
        return number


def _is_another(node: Node, line: Line) -> bool:
    """Say whether a line tells that something else, or nothing, is where a file was."""
    return line.seen is None or node.seen is None or line.seen[0] != node.seen[0]


def _is_known(node: Node, line: Line) -> bool:
    """Say whether a line tells of a state that the server has shown here already, or of an older.

    What this mount does itself is told in the log after it was answered. What it has not been
    answered yet is compared then.
    """
    if node.told is not None:
        node.noticed = max(node.noticed, line.seen[-1] if line.seen else 0)
        return True
    if line.seen is None or node.seen is None:
        return False
    (inode, *_, changed), (known_inode, *_, known) = line.seen, node.seen
    return inode == known_inode and changed <= known


def parse(body: bytes) -> list[Line]:
    """Read the lines of an answer to WATCH."""
    found = []
    for line in body.splitlines():
        path, *numbers = line.split(b" ")
        seen = None if numbers == [b"-"] else tuple(map(int, numbers))
        found.append(Line(unquote_to_bytes(path), seen))
    return found
