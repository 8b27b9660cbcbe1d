"""Names: what is at one, and what makes, removes and changes them."""

import asyncio
import errno
import secrets
import stat

import pyfuse3

from tools.mounting.base import HIDDEN, Base, handler, owner, target_field
from tools.mounting.homes import NAME_MAX, Owner
from tools.mounting.told import told
from tools.mounting.wire import DEADLINE_SECONDS, Fields


class Naming(Base):
    """Handlers of requests about names."""

    @handler
    async def lookup(
        self, parent_inode: int, name: bytes, _ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name."""
        if len(name) > NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, "no server has such names")
        if self.behind.going.has(parent_inode, name):
            return self._missing()
        known = self.nodes.child(parent_inode, name)
        if known is not None and known.told is not None and not known.is_directory:
            return self._enter_new((known, known.told))
        if known is None and self.behind.homes.lacks(parent_inode, name):
            return self._missing()
        await self._settle(parent_inode)
        if known is not None:
            await self._settle(known.number)
            await self._pending.flush(known.number)
        try:
            reply = await self._ask("GETATTR", self.nodes.path(parent_inode, name))
        except FileNotFoundError:
            return self._missing()
        return self._enter(parent_inode, name, told(reply))

    def _missing(self) -> pyfuse3.EntryAttributes:
        missing = pyfuse3.EntryAttributes()
        missing.st_ino = 0
        missing.entry_timeout = self._timeout
        return missing

    @handler
    async def readlink(self, inode: int, _ctx: pyfuse3.RequestContext) -> bytes:
        """Return where a link leads."""
        await self._settle(inode)
        return (await self._ask("READLINK", self.nodes.path(inode))).body

    async def _make(
        self, method: str, parent: int, name: bytes, fields: Fields
    ) -> pyfuse3.EntryAttributes:
        await self.behind.going.settle(parent, name)
        await self._settle(parent)
        with self.nodes.asked.making(parent, name):
            reply = await self._ask(method, self.nodes.path(parent, name), fields)
            return self._enter(parent, name, told(reply))

    @handler
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a file, FIFO, socket or device."""
        fields: Fields = {"X-Spock-mode": mode & ~ctx.umask, "X-Spock-dev": rdev, **owner(ctx)}
        return await self._make("MKNOD", parent_inode, name, fields)

    @handler
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a directory."""
        await self.behind.going.settle(parent_inode, name)
        maker, bits = Owner(ctx.uid, ctx.gid), stat.S_IMODE(mode & ~ctx.umask)
        home = self.behind.home(parent_inode, name, maker, bits)
        if home is not None:
            return self._enter_new(await self.behind.mkdir(parent_inode, name, home, bits))
        fields: Fields = {"X-Spock-mode": bits, **owner(ctx)}
        await self._settle(parent_inode)
        with self.nodes.asked.making(parent_inode, name):
            reply = await self._ask("MKDIR", self.nodes.path(parent_inode, name), fields)
            entry = self._enter(parent_inode, name, told(reply))
        if self._is_trusted:
            self.behind.found(entry.st_ino, maker, told(reply))
        return entry

    @handler
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a symbolic link."""
        await self.behind.going.settle(parent_inode, name)
        home = self.behind.home(parent_inode, name, Owner(ctx.uid, ctx.gid), 0)
        if home is not None:
            return self._enter_new(await self.behind.symlink(parent_inode, name, home, target))
        return await self._make("SYMLINK", parent_inode, name, target_field(target) | owner(ctx))

    @handler
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, _ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Give a file another name."""
        await self._settle(inode)
        await self._pending.flush(inode)
        fields = target_field(self.nodes.path(inode))
        return await self._make("LINK", new_parent_inode, new_name, fields)

    @handler
    async def unlink(self, parent_inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> None:
        """Remove a name."""
        await self._settle_at(parent_inode, name)
        node = self.nodes.child(parent_inode, name)
        if (
            node is not None
            and self._is_trusted
            and self.behind.going.may_remove(parent_inode, node)
        ):
            await self.behind.going.remove(parent_inode, name, node)
            self._gone(parent_inode, name)
        elif not await self._hide(parent_inode, name):
            await self._ask("DELETE", self.nodes.path(parent_inode, name))
            self._gone(parent_inode, name)

    async def _hide(self, parent: int, name: bytes) -> bool:
        """Keep a file that is open under a name that nobody looks for, until it is closed."""
        node = self.nodes.child(parent, name)
        if node is None or not node.opened or len(node.names) > 1:
            return False
        hidden = b"." + secrets.token_hex(8).encode() + HIDDEN
        fields = target_field(self.nodes.path(parent, name))
        await self._ask("RENAME", self.nodes.path(parent, hidden), fields)
        self.nodes.move((parent, name), (parent, hidden))
        self.behind.homes.enter(parent, hidden)
        return True

    @handler
    async def rmdir(self, parent_inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> None:
        """Remove a directory."""
        await self._settle_at(parent_inode, name)
        await self._ask("RMDIR", self.nodes.path(parent_inode, name))
        self._gone(parent_inode, name)

    @handler
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        _ctx: pyfuse3.RequestContext,
    ) -> None:
        """Give a file or directory another name."""
        if flags:
            raise OSError(errno.EINVAL, "the server has no such rename")
        old, new = (parent_inode_old, name_old), (parent_inode_new, name_new)
        moved, replaced = self.nodes.child(*old), self.nodes.child(*new)
        if moved is not None and moved is replaced:
            return  # two names of one file: as rename(2) says, nothing is done
        await self._settle_at(*old)
        await self._settle_at(*new)
        if moved is not None:
            await self._pending.flush(moved.number)
        if moved is not None and not moved.is_directory:
            await self._rename(old, new)
            return
        async with asyncio.timeout(DEADLINE_SECONDS), self.behind.journal.still():
            await self._rename(old, new)  # the paths of all below change

    async def _rename(self, old: tuple[int, bytes], new: tuple[int, bytes]) -> None:
        await self._hide(*new)
        await self._ask("RENAME", self.nodes.path(*new), target_field(self.nodes.path(*old)))
        self._gone(*new)
        self.nodes.move(old, new)
        self.behind.homes.leave(*old)
        self.behind.homes.enter(*new)
