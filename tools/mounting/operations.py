"""What the kernel asks of the filesystem, as requests to the server.

Every handler is one of libfuse's (https://libfuse.github.io/doxygen/structfuse__lowlevel__ops.html),
as pyfuse3 calls them.
"""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import pyfuse3

from tools.mounting.base import BRIEFLY_SECONDS, handler, target_field
from tools.mounting.contents import Contents
from tools.mounting.naming import Naming
from tools.mounting.nodes import Node
from tools.mounting.told import amended, changes, listed, told

if TYPE_CHECKING:
    from tools.mounting.wire import Fields

_LOCAL_XATTRS: Final = (b"security.", b"system.")
"""Asked by the kernel before each write; no server has them, so none need be asked."""


class Operations(Naming, Contents):
    """The filesystem; `Base` has its arguments."""

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Forget what the kernel refers to no more."""
        for number, count in inode_list:
            self.nodes.forget(number, count)

    @handler
    async def getattr(self, inode: int, _ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Return attributes."""
        node = self.nodes[inode]
        if (soon := self.behind.told(node)) is not None:
            entry = self._entry(inode, soon)
            entry.attr_timeout = BRIEFLY_SECONDS
            return entry
        await self._settle(inode, inside=(inode,))
        await self._pending.flush(inode)
        reply = await self._ask("GETATTR", self.nodes.path(inode))
        return self._attributes(inode, told(reply))

    @handler
    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        _fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        """Change attributes, each kind by a request of its own."""
        soon = self._set_soon(self.nodes[inode], attr, fields)
        if soon is not None:
            return soon
        await self._settle(inode, inside=(inode,))
        await self._pending.flush(inode)
        path, reply = self.nodes.path(inode), None
        for method, wanted in changes(attr, fields):
            reply = await self._ask(method, path, wanted)
        if reply is None:
            return await self.getattr(inode, ctx)
        return self._attributes(inode, told(reply))

    def _set_soon(
        self, node: Node, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields
    ) -> pyfuse3.EntryAttributes | None:
        """Have attributes of something new changed soon, or return None."""
        home = self.behind.homes.get(node.number)
        before = node.told or (home.told if home is not None else None)
        after = None if before is None else amended(before, attr, fields, self._now())
        if after is None or not self.behind.amend(node, after, changes(attr, fields)):
            return None
        entry = self._entry(node.number, after)
        if node.is_directory:
            entry.attr_timeout = BRIEFLY_SECONDS
        return entry

    @handler
    async def opendir(self, inode: int, _ctx: pyfuse3.RequestContext) -> int:
        """List a directory, whole, with the attributes of what is in it."""
        await self._settle(inode, inside=(inode,))
        for number in self._pending.waiting():
            if self.nodes.is_in(number, inode):
                await self._pending.flush(number)
        reply = await self._ask("READDIR", self.nodes.path(inode), {"X-Spock-plus": 1})
        self._last_handle += 1
        self._listed[self._last_handle] = (inode, list(listed(reply.body)))
        return self._last_handle

    @handler
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Tell the kernel what was listed, from where it stopped."""
        inode, entries = self._listed[fh]
        for index in range(start_id, len(entries)):
            name, found = entries[index]
            node = self._place(inode, name, found)
            entry = self._attributes(node.number, found)
            if not pyfuse3.readdir_reply(token, name, entry, index + 1):
                self.nodes.drop(node)
                return
            node.lookups += 1

    @handler
    async def fsyncdir(self, fh: int, _datasync: bool) -> None:  # noqa: FBT001 - as the library calls it
        """Have on the server what was made in a directory."""
        inode, _ = self._listed[fh]
        await self._settle(inode, inside=(inode,))
        self.behind.journal.complain_inside(inode)

    async def releasedir(self, fh: int) -> None:
        """Forget a list."""
        self._listed.pop(fh, None)

    @handler
    async def statfs(self, _ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        """Return what is known of the server's filesystem."""
        reply = await self._ask("STATFS", b"/")
        found = pyfuse3.StatvfsData()
        for name in ("bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail"):
            setattr(found, f"f_{name}", reply.number(name.encode()))
        found.f_namemax = reply.number(b"namemax")
        return found

    @handler
    async def setxattr(
        self, inode: int, name: bytes, value: bytes, _ctx: pyfuse3.RequestContext
    ) -> None:
        """Set an extended attribute."""
        await self._settle(inode)
        await self._ask("SETXATTR", self.nodes.path(inode), target_field(name), value)

    @handler
    async def getxattr(self, inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> bytes:
        """Return the value of an extended attribute."""
        if name.startswith(_LOCAL_XATTRS):
            raise OSError(errno.ENODATA, "servers have none of these")
        fields = target_field(name) | {"X-Spock-size": 65_536}
        await self._settle(inode)
        return (await self._ask("GETXATTR", self.nodes.path(inode), fields)).body

    @handler
    async def listxattr(self, inode: int, _ctx: pyfuse3.RequestContext) -> list[bytes]:
        """Return the names of extended attributes."""
        fields: Fields = {"X-Spock-size": 65_536}
        await self._settle(inode)
        reply = await self._ask("LISTXATTR", self.nodes.path(inode), fields)
        return reply.body.splitlines()

    @handler
    async def removexattr(self, inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> None:
        """Remove an extended attribute."""
        await self._settle(inode)
        await self._ask("REMOVEXATTR", self.nodes.path(inode), target_field(name))
