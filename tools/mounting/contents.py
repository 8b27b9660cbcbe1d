"""Files: opening them, and their bytes."""

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import pyfuse3

from tools.mounting.base import HIDDEN, Base, handler, owner
from tools.mounting.homes import Owner
from tools.mounting.nodes import Node
from tools.mounting.told import told

if TYPE_CHECKING:
    from tools.mounting.wire import Fields


class Contents(Base):
    """Handlers of requests about open files."""

    def _opened(self, node: Node, *, keeps: bool) -> pyfuse3.FileInfo:
        node.opened += 1
        return pyfuse3.FileInfo(fh=node.number, keep_cache=keeps)

    @handler
    async def open(self, inode: int, flags: int, _ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """Open a file; whether it may be written to is asked now, as writes come too late.

        The kernel counts on O_TRUNC being heeded here.
        """
        node = self.nodes[inode]
        if self.behind.draft(inode) is not None:
            if flags & os.O_TRUNC:
                self.behind.cut(node)
        elif flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            await self._settle(inode)
            await self._pending.flush(inode)
            asked = flags & (os.O_ACCMODE | os.O_TRUNC)
            await self._ask("OPEN", self.nodes.path(inode), {"X-Spock-flag": asked})
        if flags & os.O_TRUNC:
            node.seen = None  # the kernel keeps nothing of what was there
        keeps = self._is_trusted and node.seen is not None and node.seen == node.paged
        node.paged = node.seen
        return self._opened(node, keeps=keeps)

    @handler
    async def create(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        flags: int,
        ctx: pyfuse3.RequestContext,
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        """Make a file and open it."""
        kind = stat.S_IFREG | stat.S_IMODE(mode & ~ctx.umask)
        await self.behind.going.settle(parent_inode, name)
        home = self.behind.home(parent_inode, name, Owner(ctx.uid, ctx.gid), kind)
        if home is not None:
            made = await self.behind.create(parent_inode, name, home, kind, flags)
            return self._opened(made[0], keeps=False), self._enter_new(made)
        await self._settle(parent_inode)
        kept = flags & (os.O_EXCL | os.O_CREAT)
        fields: Fields = {"X-Spock-mode": kind, "X-Spock-flag": kept, **owner(ctx)}
        path = self.nodes.path(parent_inode, name)
        with self.nodes.asked.making(parent_inode, name):
            reply = await self._ask("POST", path, fields)
            if reply.status == 200 and flags & os.O_TRUNC:  # noqa: PLR2004 - it was there
                reply = await self._ask("TRUNCATE", path, {"X-Spock-size": 0})
            entry = self._enter(parent_inode, name, told(reply))
        return self._opened(self.nodes[entry.st_ino], keeps=False), entry

    @handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Read bytes; fewer only at the end of the file."""
        draft = self.behind.draft(fh)
        if draft is not None:
            return bytes(draft.data[off : off + size])
        await self._settle(fh)
        await self._pending.flush(fh)
        span: Fields = {"Range": f"bytes={off}-{off + size - 1}"}
        return (await self._pool.ask("GET", self.nodes.path(fh), span)).body

    @handler
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Take bytes, to be sent with others."""
        if self.behind.write(self.nodes[fh], off, buf):
            return len(buf)
        await self._settle(fh)
        await self._pending.write(fh, off, buf)
        return len(buf)

    @handler
    async def flush(self, fh: int) -> None:
        """Send what was written: a program closes a handle, and would hear of errors.

        A whole new file is sent soon.
        """
        if self._waits:
            await self._settle(fh)
        self.behind.journal.complain(fh)
        await self._pending.flush(fh)

    @handler
    async def fsync(self, fh: int, _datasync: bool) -> None:  # noqa: FBT001 - as the library calls it
        """Have what was written on the server's disk."""
        await self._settle(fh)
        await self._pending.flush(fh)
        await self._ask("FSYNC", self.nodes.path(fh))

    @handler
    async def release(self, fh: int) -> None:
        """Forget a handle, and the file, if it was removed meanwhile."""
        with contextlib.suppress(OSError):  # flush has told the program already
            await self._pending.flush(fh)
        node = self.nodes[fh]
        node.opened -= 1
        if not node.opened:
            self.behind.send(node)
            self._pending.forget(fh)
            await self._remove_hidden(node)
            self.nodes.drop(node)

    async def _remove_hidden(self, node: Node) -> None:
        for parent, name in list(node.names):
            if name.endswith(HIDDEN) and name.startswith(b"."):
                with contextlib.suppress(OSError):  # somebody else was faster
                    await self._ask("DELETE", self.nodes.path(parent, name))
                self._gone(parent, name)
