"""A request to the filesystem and the answer to it, as the methods see them."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from api.spockfs.errors import Refusal
from api.spockfs.fields import Fields, Span
from api.spockfs.mounts import Mount, Mounts

_NAME_BITS: Final = 0o7777
_FILE_PRIVILEGES: Final = stat.S_ISUID | stat.S_ISGID


class Call(NamedTuple):
    """A request.

    Attributes:
        mounts: all mount points.
        mount: that the path lies under.
        path: in the mount's root, raw.
        fields: of the header.
        author: who asks, for the log.
        body: of the request.
    """

    mounts: Mounts
    mount: Mount
    path: bytes
    fields: Fields
    author: str
    body: bytes = b""

    def other(self) -> bytes:
        """Return the path that X-Spock-target names, which must be under the same mount point.

        Raises:
            Refusal: it is not, or no client may name it.
        """
        place = self.mounts.find(self.fields.target())
        if place.mount is not self.mount:
            raise Refusal(errno.EXDEV, "it is under another mount point")
        return place.path

    def check(self, found: os.stat_result) -> None:
        """Refuse to touch something else than the client means: X-Spock-is, an extension.

        It has the inode number. What a path leads to may have been replaced since the client
        looked. The number of the device says nothing: the next start may give it another one.

        Raises:
            Refusal: it is something else.
        """
        if self.fields.number(b"x-spock-is", found.st_ino) != found.st_ino:
            raise Refusal(errno.ESTALE, "something else is there now")

    def bits(self, *, is_directory: bool = False) -> int:
        """Return the permission bits of X-Spock-mode, without those that are not given away."""
        bits = self.fields.number(b"x-spock-mode") & _NAME_BITS
        if self.mount.rules.privileged:
            return bits
        return bits & ~(stat.S_ISUID if is_directory else _FILE_PRIVILEGES)


class Source(NamedTuple):
    """Bytes of an open file that are to be sent.

    Attributes:
        fd: of the file; whoever sends closes it.
        span: which bytes; all are there.
    """

    fd: int
    span: Span


class Reply(NamedTuple):
    """An answer.

    Attributes:
        status: of HTTP.
        fields: of the header, but for the length.
        body: what is sent.
        source: what is sent instead, a piece at a time.
    """

    status: int = 200
    fields: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    source: Source | None = None


DONE: Final = Reply()
CREATED: Final = Reply(201)


def through(fd: int) -> str:
    """Return a path that leads to what a descriptor stands for, without any name; see proc(5)."""
    return f"/proc/self/fd/{fd}"


@contextmanager
def opened(mount: Mount, path: bytes, flags: int) -> Iterator[int]:
    """Lend a descriptor of a regular file.

    Anything else is refused before it is opened: a FIFO would wait for its other end, and to open
    a device can have effects.

    Args:
        mount: under which it lies.
        path: in the mount's root.
        flags: of open(2).

    Raises:
        Refusal: it is no regular file.
        OSError: it cannot be opened.
    """
    with mount.handle(path) as handle:
        check_regular(os.fstat(handle))
        fd = os.open(through(handle), flags | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


def check_regular(found: os.stat_result) -> None:
    """Refuse what has no bytes.

    Raises:
        Refusal: it is no regular file.
    """
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISDIR(found.st_mode):
        raise Refusal(errno.EISDIR)
    if stat.S_ISLNK(found.st_mode):
        raise Refusal(errno.ELOOP)
    raise Refusal(errno.EACCES, "this is no regular file")
