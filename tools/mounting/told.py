"""Attributes of files as the server tells them, and requests that change them."""

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from tools.mounting.wire import Fields, Reply

if TYPE_CHECKING:
    import pyfuse3

    from tools.mounting.nodes import Node

SECOND_NS = 1_000_000_000
_BLOCK_BYTES = 4096
_SECTORS = 8  # of 512 bytes, in a block
_BITS = 0o7777


class Told(NamedTuple):
    """Attributes, in the order of READDIR; times in nanoseconds since 1970."""

    mode: int
    uid: int
    gid: int
    size: int
    nlink: int
    blocks: int
    dev: int
    ino: int
    rdev: int
    mtime: int
    atime: int
    ctime: int

    @property
    def seen(self) -> tuple[int, ...]:
        """What tells one state of a file from another: inode, size, mtime, ctime."""
        return self.ino, self.size, self.mtime, self.ctime

    def resized(self, size: int, now: int) -> "Told":
        """Return what they are after the bytes have changed.

        Args:
            size: how many there are then.
            now: nanoseconds since 1970.
        """
        blocks = -(-size // _BLOCK_BYTES) * _SECTORS
        return self._replace(size=size, blocks=blocks, mtime=now, ctime=now)


def fresh(mode: int, owner: tuple[int, int], size: int, now: int) -> Told:
    """Return the attributes of something new that the server has not been told of."""
    is_directory = stat.S_ISDIR(mode)
    made = Told(mode, *owner, 0, 1 + is_directory, 0, 0, 0, 0, now, now, now)
    return made.resized(_BLOCK_BYTES if is_directory else size, now)


_ORDER = (b"mode", b"uid", b"gid", b"size", b"nlink", b"blocks", b"dev", b"ino", b"rdev")


def told(reply: Reply) -> Told:
    """Return the attributes that a reply tells."""
    times = (
        reply.number(name) * SECOND_NS + reply.number(name + b"-ns")
        for name in (b"mtime", b"atime", b"ctime")
    )
    return Told(*map(reply.number, _ORDER), *times)


def listed(body: bytes) -> Iterator[tuple[bytes, Told]]:
    """Read the body of READDIR with attributes; the directory itself is left out."""
    for line in body.splitlines():
        name, *numbers = line.split(b" ")
        if name != b".":
            yield unquote_to_bytes(name), Told(*map(int, numbers))


def changes(
    wanted: "pyfuse3.EntryAttributes", which: "pyfuse3.SetattrFields"
) -> list[tuple[str, Fields]]:
    """Return the requests that make a change of attributes."""
    size: Fields = {"X-Spock-size": wanted.st_size} if which.update_size else {}
    owner: Fields = {"X-Spock-uid": wanted.st_uid} if which.update_uid else {}
    owner |= {"X-Spock-gid": wanted.st_gid} if which.update_gid else {}
    mode: Fields = {"X-Spock-mode": wanted.st_mode} if which.update_mode else {}
    times = time_fields("atime", wanted.st_atime_ns) if which.update_atime else {}
    times |= time_fields("mtime", wanted.st_mtime_ns) if which.update_mtime else {}
    # The owner first: to change it takes set-user-ID bits away.
    all_ = [("TRUNCATE", size), ("CHOWN", owner), ("CHMOD", mode), ("UTIMENS", times)]
    return [(method, fields) for method, fields in all_ if fields]


def amended(
    before: Told, wanted: "pyfuse3.EntryAttributes", which: "pyfuse3.SetattrFields", now: int
) -> Told | None:
    """Return attributes after a change that any server makes; None: it might refuse.

    Args:
        before: what they are.
        wanted: the attributes that are to be.
        which: which of them.
        now: nanoseconds since 1970.
    """
    if which.update_uid and wanted.st_uid != before.uid:
        return None
    if which.update_gid and wanted.st_gid != before.gid:
        return None
    after = before._replace(ctime=now)
    if which.update_size:
        after = after.resized(wanted.st_size, now)
    if which.update_mode:
        bits = wanted.st_mode & _BITS
        if bits & (stat.S_ISUID | stat.S_ISGID) & ~before.mode:
            return None
        after = after._replace(mode=stat.S_IFMT(before.mode) | bits)
    if which.update_atime:
        after = after._replace(atime=wanted.st_atime_ns)
    if which.update_mtime:
        after = after._replace(mtime=wanted.st_mtime_ns)
    return after


def this(node: "Node") -> Fields:
    """Return the field that says what is to be changed: nothing else that has its name by now."""
    return {} if node.key is None else {"X-Spock-is": node.key[1]}


def time_fields(name: str, time_ns: int) -> Fields:
    """Return the fields that tell a time."""
    seconds, rest = divmod(time_ns, SECOND_NS)
    return {f"X-Spock-{name}": seconds, f"X-Spock-{name}-ns": rest}
