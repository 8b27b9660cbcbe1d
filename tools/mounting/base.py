"""What all handlers of the kernel's requests have in common.

Errors must leave as FUSEError of pyfuse3.
"""

import asyncio
import contextlib
import errno
import functools
import logging
import stat
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, ParamSpec, TypeVar
from urllib.parse import quote_from_bytes

import pyfuse3

from tools.mounting.behind import Behind
from tools.mounting.homes import Homes
from tools.mounting.nodes import Node, Nodes
from tools.mounting.pending import Pending
from tools.mounting.told import Told, this, told
from tools.mounting.wire import DEADLINE_SECONDS, Fields, Pool, Reply

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

HIDDEN: Final = b".__tmp__"
"""End of the name of a file that was removed while it was open; the server's feed leaves it out."""

TRUSTED_SECONDS: Final = 60.0
"""How long the kernel believes what it was told while the server tells of every change."""

BRIEFLY_SECONDS: Final = 0.1
"""How long it believes what the server will soon know better."""

_ASK: Final[Fields] = {"X-Spock-ns": 1, "X-Spock-attr": 1}


def handler(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Have errors leave in the way that the library knows."""

    @functools.wraps(method)
    async def handled(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except OSError as error:
            raise pyfuse3.FUSEError(error.errno or errno.EIO) from error
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            # A fault of our own, or of a server, must not end the mount and all work in it.
            _log.exception("please report this")
            raise pyfuse3.FUSEError(errno.EIO) from error

    return handled


def target_field(path: bytes) -> Fields:
    """Return the field that names another path, or an attribute."""
    return {"X-Spock-target-encoded": quote_from_bytes(path)}


def owner(ctx: pyfuse3.RequestContext) -> Fields:
    """Return the fields that say who asks."""
    return {"X-Spock-uid": ctx.uid, "X-Spock-gid": ctx.gid}


class Base(pyfuse3.Operations):  # type: ignore[misc]  # the library is optional, so unknown
    """The filesystem.

    Args:
        pool: asks the server.
        timeout_seconds: how long the kernel may believe what it was told, unless the server tells
            of changes.
        now_ns: tells the time, nanoseconds since 1970.
        waits: whether closing a new file waits until it is on the server.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(
        self, pool: Pool, timeout_seconds: float, now_ns: Callable[[], int], *, waits: bool = False
    ) -> None:
        super().__init__()
        homes = Homes()
        self.nodes = Nodes(homes.drop)  # nobody hears of what becomes of it then
        self.behind = Behind(pool, self.nodes, homes, now_ns, self._vanish, self._renew)
        self._pool = pool
        self._now = now_ns
        self._waits = waits
        self._short = self._timeout = timeout_seconds
        self._pending = Pending(self._put)
        self._settle = self.behind.settle
        self._listed: dict[int, tuple[int, list[tuple[bytes, Told]]]] = {}
        self._last_handle = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Ask what the server can do.

        Raises:
            OSError: it cannot be asked.
        """
        reply = await self._pool.ask("OPTIONS", b"/")
        offered = reply.fields.get(b"x-spock-extensions", b"").split(b", ")
        self.behind.is_offered = b"make" in offered
        self.behind.going.is_offered = b"remove" in offered and not self._waits

    def trust(self, *, trusted: bool) -> None:
        """Have the kernel believe for long what it is told, or not."""
        self._timeout = TRUSTED_SECONDS if trusted else self._short
        if not trusted:
            self.behind.homes.clear()

    @property
    def _is_trusted(self) -> bool:
        return self._timeout == TRUSTED_SECONDS

    async def finish(self) -> None:
        """Have everything on the server that was written."""
        await self.behind.finish(DEADLINE_SECONDS)
        for number, error in (await self._pending.flush_all()).items():
            self.behind.lose(self.nodes.last_path(self.nodes[number]), error)

    def unsent(self) -> int:
        """Return how many files are not on the server yet, as they are to be."""
        return len(self.behind.unsent().keys() | self._pending.unsent())

    def waiting(self) -> Iterable[bytes]:
        """Return their paths, as far as they are known."""
        nodes = self.nodes
        written = {n: nodes.last_path(nodes[n]) for n in self._pending.unsent()}
        return (written | self.behind.unsent()).values()

    def lost(self) -> list[bytes]:
        """Return the paths of what could not be written."""
        return self.behind.lost

    def _vanish(self, directory: int, name: bytes) -> None:
        pyfuse3.invalidate_entry_async(directory, name, 0, ignore_enoent=True)

    def _renew(self, number: int) -> None:
        """Have the kernel forget a file; it may wait for requests, so not in this thread."""

        def forget() -> None:
            with contextlib.suppress(FileNotFoundError):  # it has, by itself
                pyfuse3.invalidate_inode(number, attr_only=False)

        task = asyncio.create_task(asyncio.to_thread(forget))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(
        self, method: str, path: bytes, fields: Fields | None = None, body: bytes = b""
    ) -> Reply:
        return await self._pool.ask(method, path, {**_ASK, **(fields or {})}, body)

    async def _put(self, number: int, start: int, data: bytes) -> None:
        await self._settle(number)
        node, span = self.nodes[number], f"bytes={start}-{start + len(data) - 1}"
        fields: Fields = {"Content-Range": span, **this(node)}
        reply = await self._ask("PUT", self.nodes.path(number), fields, data)
        node.seen = node.paged = told(reply).seen

    def _entry(self, number: int, found: Told) -> pyfuse3.EntryAttributes:
        """Return attributes for the kernel."""
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = number
        entry.generation = 0
        entry.entry_timeout = entry.attr_timeout = self._timeout
        entry.st_mode, entry.st_uid, entry.st_gid = found.mode, found.uid, found.gid
        entry.st_size, entry.st_nlink, entry.st_blocks = found.size, found.nlink, found.blocks
        entry.st_rdev = found.rdev
        entry.st_blksize = 4096
        entry.st_mtime_ns, entry.st_atime_ns = found.mtime, found.atime
        entry.st_ctime_ns = self.nodes.shown((found.dev, found.ino), found.ctime)
        return entry

    def _attributes(self, number: int, found: Told) -> pyfuse3.EntryAttributes:
        """Return attributes for the kernel that the server has told."""
        node = self.nodes[number]
        node.seen = found.seen
        node.is_directory = stat.S_ISDIR(found.mode)
        if node.is_directory:
            node.found = found
        home = self.behind.homes.get(number)
        if home is not None:
            home.told = found
        return self._entry(number, found)

    def _place(self, directory: int, name: bytes, found: Told) -> Node:
        """Return the node of what the server has at a name."""
        node = self.nodes.place(directory, name, (found.dev, found.ino))
        if node.is_directory and len(node.names) > 1:
            self.behind.homes.clear()  # somebody else has moved it, and perhaps more
        return node

    def _enter(self, directory: int, name: bytes, found: Told) -> pyfuse3.EntryAttributes:
        """Note what is at a name, and that the kernel refers to it once more."""
        node = self._place(directory, name, found)
        node.lookups += 1
        self.behind.homes.enter(directory, name)
        return self._attributes(node.number, found)

    def _enter_new(self, made: tuple[Node, Told]) -> pyfuse3.EntryAttributes:
        """Note that the kernel refers to something that the server will hear of."""
        node, found = made
        node.lookups += 1
        node.is_directory = stat.S_ISDIR(found.mode)
        home = self.behind.homes.get(node.number)
        if home is not None:
            home.told = found
        return self._entry(node.number, found)

    async def _settle_at(self, parent: int, name: bytes) -> None:
        """Have a directory, and what is at a name in it, on the server."""
        await self.behind.going.settle(parent, name)
        node = self.nodes.child(parent, name)
        if node is None:
            await self._settle(parent)
        elif node.is_directory:
            await self._settle(parent, node.number, inside=(node.number,))
        else:
            await self._settle(parent, node.number)

    def _gone(self, parent: int, name: bytes) -> None:
        node = self.nodes.child(parent, name)
        self.nodes.remove(parent, name)
        self.behind.homes.leave(parent, name)
        if node is not None:
            self.nodes.disown(node)
