"""What the kernel asks of the filesystem, as requests to the server.

Every handler is one of libfuse's (https://libfuse.github.io/doxygen/structfuse__lowlevel__ops.html),
as pyfuse3 calls them. Errors must leave as its FUSEError.
"""

import contextlib
import errno
import functools
import logging
import os
import secrets
import stat
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, ParamSpec, TypeVar
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pyfuse3

from tools.mounting.nodes import Node, Nodes
from tools.mounting.pending import Pending
from tools.mounting.wire import Fields, Pool, Reply

_log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

HIDDEN: Final = b".__tmp__"
"""End of the name of a file that was removed while it was open; the server's feed leaves it out."""

TRUSTED_SECONDS: Final = 60.0
"""How long the kernel believes what it was told while the server tells of every change."""

_SECOND_NS: Final = 1_000_000_000
_ASK: Final[Fields] = {"X-Spock-ns": 1, "X-Spock-attr": 1}
_LOCAL_XATTRS: Final = (b"security.", b"system.")
"""Asked by the kernel before each write; no server has them, so none need be asked."""


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


class Operations(pyfuse3.Operations):  # type: ignore[misc]  # the library is optional, so unknown
    """The filesystem.

    Args:
        pool: asks the server.
        timeout_seconds: how long the kernel may believe what it was told, unless the server tells
            of changes.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False

    def __init__(self, pool: Pool, timeout_seconds: float) -> None:
        super().__init__()
        self.nodes = Nodes()
        self._pool = pool
        self._short = self._timeout = timeout_seconds
        self._pending = Pending(self._put)
        self._listed: dict[int, tuple[int, list[tuple[bytes, list[int]]]]] = {}
        self._last_handle = 0

    def trust(self, *, trusted: bool) -> None:
        """Have the kernel believe for long what it is told, or not."""
        self._timeout = TRUSTED_SECONDS if trusted else self._short

    @property
    def _is_trusted(self) -> bool:
        return self._timeout == TRUSTED_SECONDS

    async def finish(self) -> None:
        """Have everything on the server that was written."""
        await self._pending.flush_all()

    async def _ask(
        self, method: str, path: bytes, fields: Fields | None = None, body: bytes = b""
    ) -> Reply:
        return await self._pool.ask(method, path, {**_ASK, **(fields or {})}, body)

    async def _put(self, number: int, start: int, data: bytes) -> None:
        span = f"bytes={start}-{start + len(data) - 1}"
        reply = await self._ask("PUT", self.nodes.path(number), {"Content-Range": span}, data)
        self.nodes[number].seen = self.nodes[number].paged = _seen(_told(reply))

    def _attributes(self, number: int, found: Sequence[int]) -> pyfuse3.EntryAttributes:
        """Return attributes for the kernel, of numbers in the order of READDIR."""
        entry = pyfuse3.EntryAttributes()
        mode, uid, gid, size, nlink, blocks, _, _, rdev, mtime, atime, ctime = found
        self.nodes[number].seen = _seen(found)
        entry.st_ino = number
        entry.generation = 0
        entry.entry_timeout = entry.attr_timeout = self._timeout
        entry.st_mode, entry.st_uid, entry.st_gid = mode, uid, gid
        entry.st_size, entry.st_nlink, entry.st_blocks = size, nlink, blocks
        entry.st_rdev = rdev
        entry.st_blksize = 4096
        entry.st_mtime_ns, entry.st_atime_ns, entry.st_ctime_ns = mtime, atime, ctime
        return entry

    def _enter(self, directory: int, name: bytes, found: Sequence[int]) -> pyfuse3.EntryAttributes:
        """Note what is at a name, and that the kernel refers to it once more."""
        node = self.nodes.place(directory, name, (found[6], found[7]))
        node.lookups += 1
        return self._attributes(node.number, found)

    @handler
    async def lookup(
        self, parent_inode: int, name: bytes, _ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Find a name."""
        known = self.nodes.child(parent_inode, name)
        if known is not None:
            await self._pending.flush(known.number)
        try:
            reply = await self._ask("GETATTR", self.nodes.path(parent_inode, name))
        except FileNotFoundError:
            missing = pyfuse3.EntryAttributes()
            missing.st_ino = 0
            missing.entry_timeout = self._timeout
            return missing
        return self._enter(parent_inode, name, _told(reply))

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Forget what the kernel refers to no more."""
        for number, count in inode_list:
            self.nodes.forget(number, count)

    @handler
    async def getattr(self, inode: int, _ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        """Return attributes."""
        await self._pending.flush(inode)
        reply = await self._ask("GETATTR", self.nodes.path(inode))
        return self._attributes(inode, _told(reply))

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
        await self._pending.flush(inode)
        path, reply = self.nodes.path(inode), None
        for method, wanted in _changes(attr, fields):
            reply = await self._ask(method, path, wanted)
        if reply is None:
            return await self.getattr(inode, ctx)
        return self._attributes(inode, _told(reply))

    @handler
    async def readlink(self, inode: int, _ctx: pyfuse3.RequestContext) -> bytes:
        """Return where a link leads."""
        return (await self._ask("READLINK", self.nodes.path(inode))).body

    async def _make(
        self, method: str, parent: int, name: bytes, fields: Fields
    ) -> pyfuse3.EntryAttributes:
        reply = await self._ask(method, self.nodes.path(parent, name), fields)
        return self._enter(parent, name, _told(reply))

    @handler
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a file, FIFO, socket or device."""
        fields: Fields = {"X-Spock-mode": mode & ~ctx.umask, "X-Spock-dev": rdev, **_owner(ctx)}
        return await self._make("MKNOD", parent_inode, name, fields)

    @handler
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a directory."""
        fields: Fields = {"X-Spock-mode": mode & ~ctx.umask, **_owner(ctx)}
        return await self._make("MKDIR", parent_inode, name, fields)

    @handler
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Make a symbolic link."""
        return await self._make("SYMLINK", parent_inode, name, _target(target) | _owner(ctx))

    @handler
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, _ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        """Give a file another name."""
        await self._pending.flush(inode)
        fields = _target(self.nodes.path(inode))
        return await self._make("LINK", new_parent_inode, new_name, fields)

    @handler
    async def unlink(self, parent_inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> None:
        """Remove a name."""
        if not await self._hide(parent_inode, name):
            await self._ask("DELETE", self.nodes.path(parent_inode, name))
            self._gone(parent_inode, name)

    def _gone(self, parent: int, name: bytes) -> None:
        node = self.nodes.child(parent, name)
        self.nodes.remove(parent, name)
        if node is not None:
            self.nodes.disown(node)

    async def _hide(self, parent: int, name: bytes) -> bool:
        """Keep a file that is open under a name that nobody looks for, until it is closed."""
        node = self.nodes.child(parent, name)
        if node is None or not node.opened or len(node.names) > 1:
            return False
        hidden = b"." + secrets.token_hex(8).encode() + HIDDEN
        fields = _target(self.nodes.path(parent, name))
        await self._ask("RENAME", self.nodes.path(parent, hidden), fields)
        self.nodes.move((parent, name), (parent, hidden))
        return True

    @handler
    async def rmdir(self, parent_inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> None:
        """Remove a directory."""
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
        if moved is not None:
            await self._pending.flush(moved.number)
        await self._hide(*new)
        await self._ask("RENAME", self.nodes.path(*new), _target(self.nodes.path(*old)))
        self._gone(*new)
        self.nodes.move(old, new)

    def _opened(self, node: Node, *, keeps: bool) -> pyfuse3.FileInfo:
        node.opened += 1
        return pyfuse3.FileInfo(fh=node.number, keep_cache=keeps)

    @handler
    async def open(self, inode: int, flags: int, _ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        """Open a file; whether it may be written to is asked now, as writes come too late."""
        node = self.nodes[inode]
        if flags & (os.O_WRONLY | os.O_RDWR):
            asked = flags & os.O_ACCMODE
            await self._ask("OPEN", self.nodes.path(inode), {"X-Spock-flag": asked})
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
        kind = stat.S_IFREG | (mode & ~ctx.umask)
        kept = flags & (os.O_EXCL | os.O_CREAT)
        fields: Fields = {"X-Spock-mode": kind, "X-Spock-flag": kept, **_owner(ctx)}
        path = self.nodes.path(parent_inode, name)
        reply = await self._ask("POST", path, fields)
        if reply.status == 200 and flags & os.O_TRUNC:  # noqa: PLR2004 - it was there
            reply = await self._ask("TRUNCATE", path, {"X-Spock-size": 0})
        entry = self._enter(parent_inode, name, _told(reply))
        return self._opened(self.nodes[entry.st_ino], keeps=False), entry

    @handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        """Read bytes; fewer only at the end of the file."""
        await self._pending.flush(fh)
        span: Fields = {"Range": f"bytes={off}-{off + size - 1}"}
        return (await self._pool.ask("GET", self.nodes.path(fh), span)).body

    @handler
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        """Take bytes, to be sent with others."""
        await self._pending.write(fh, off, buf)
        return len(buf)

    @handler
    async def flush(self, fh: int) -> None:
        """Send what was written: a program closes a handle, and would hear of errors."""
        await self._pending.flush(fh)

    @handler
    async def fsync(self, fh: int, _datasync: bool) -> None:  # noqa: FBT001 - as the library calls it
        """Have what was written on the server's disk."""
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
            self._pending.forget(fh)
            await self._remove_hidden(node)
            self.nodes.drop(node)

    async def _remove_hidden(self, node: Node) -> None:
        for parent, name in list(node.names):
            if name.endswith(HIDDEN) and name.startswith(b"."):
                with contextlib.suppress(OSError):  # somebody else was faster
                    await self._ask("DELETE", self.nodes.path(parent, name))
                self._gone(parent, name)

    @handler
    async def opendir(self, inode: int, _ctx: pyfuse3.RequestContext) -> int:
        """List a directory, whole, with the attributes of what is in it."""
        for number in self.nodes.children(inode):
            await self._pending.flush(number)
        reply = await self._ask("READDIR", self.nodes.path(inode), {"X-Spock-plus": 1})
        self._last_handle += 1
        self._listed[self._last_handle] = (inode, list(_parse_list(reply.body)))
        return self._last_handle

    @handler
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        """Tell the kernel what was listed, from where it stopped."""
        inode, entries = self._listed[fh]
        for index in range(start_id, len(entries)):
            name, found = entries[index]
            node = self.nodes.place(inode, name, (found[6], found[7]))
            entry = self._attributes(node.number, found)
            if not pyfuse3.readdir_reply(token, name, entry, index + 1):
                self.nodes.drop(node)
                return
            node.lookups += 1

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
        await self._ask("SETXATTR", self.nodes.path(inode), _target(name), value)

    @handler
    async def getxattr(self, inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> bytes:
        """Return the value of an extended attribute."""
        if name.startswith(_LOCAL_XATTRS):
            raise OSError(errno.ENODATA, "servers have none of these")
        fields = _target(name) | {"X-Spock-size": 65_536}
        return (await self._ask("GETXATTR", self.nodes.path(inode), fields)).body

    @handler
    async def listxattr(self, inode: int, _ctx: pyfuse3.RequestContext) -> list[bytes]:
        """Return the names of extended attributes."""
        fields: Fields = {"X-Spock-size": 65_536}
        reply = await self._ask("LISTXATTR", self.nodes.path(inode), fields)
        return reply.body.splitlines()

    @handler
    async def removexattr(self, inode: int, name: bytes, _ctx: pyfuse3.RequestContext) -> None:
        """Remove an extended attribute."""
        await self._ask("REMOVEXATTR", self.nodes.path(inode), _target(name))


def _target(path: bytes) -> Fields:
    return {"X-Spock-target-encoded": quote_from_bytes(path)}


def _owner(ctx: pyfuse3.RequestContext) -> Fields:
    return {"X-Spock-uid": ctx.uid, "X-Spock-gid": ctx.gid}


_ORDER: Final = (b"mode", b"uid", b"gid", b"size", b"nlink", b"blocks", b"dev", b"ino", b"rdev")


def _told(reply: Reply) -> list[int]:
    """Return the attributes that a reply tells, in the order of READDIR."""
    times = (
        reply.number(name) * _SECOND_NS + reply.number(name + b"-ns")
        for name in (b"mtime", b"atime", b"ctime")
    )
    return [*map(reply.number, _ORDER), *times]


def _seen(found: Sequence[int]) -> tuple[int, ...]:
    """Return what tells one state of a file from another: inode, size, mtime, ctime."""
    return found[7], found[3], found[9], found[11]


def _parse_list(body: bytes) -> list[tuple[bytes, list[int]]]:
    """Read the body of READDIR with attributes; the directory itself is left out."""
    found = []
    for line in body.splitlines():
        name, *numbers = line.split(b" ")
        if name != b".":
            found.append((unquote_to_bytes(name), list(map(int, numbers))))
    return found


def _changes(
    attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields
) -> list[tuple[str, Fields]]:
    """Return the requests that make a change of attributes."""
    size: Fields = {"X-Spock-size": attr.st_size} if fields.update_size else {}
    owner: Fields = {"X-Spock-uid": attr.st_uid} if fields.update_uid else {}
    owner |= {"X-Spock-gid": attr.st_gid} if fields.update_gid else {}
    mode: Fields = {"X-Spock-mode": attr.st_mode} if fields.update_mode else {}
    times = _time("atime", attr.st_atime_ns) if fields.update_atime else {}
    times |= _time("mtime", attr.st_mtime_ns) if fields.update_mtime else {}
    # The owner first: to change it takes set-user-ID bits away.
    all_ = [("TRUNCATE", size), ("CHOWN", owner), ("CHMOD", mode), ("UTIMENS", times)]
    return [(method, wanted) for method, wanted in all_ if wanted]


def _time(name: str, time_ns: int) -> Fields:
    seconds, rest = divmod(time_ns, _SECOND_NS)
    return {f"X-Spock-{name}": seconds, f"X-Spock-{name}-ns": rest}
