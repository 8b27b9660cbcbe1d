"""Mount points: which directory a path of the filesystem leads to."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from api.beneath.paths import NAME_MAX, PATH_MAX, join
from api.beneath.root import Beneath, Entry
from api.beneath.staging import OWN
from api.served import Touched, WritableRoot
from api.spockfs.errors import Refusal

XATTR_LIMIT: Final = 65_536
"""Bytes of the value of an extended attribute; Linux allows no more."""


class Rules(NamedTuple):
    """What a mount point allows.

    Attributes:
        read_only: nothing may be changed.
        privileged: devices may be made, owners changed, set-user-ID bits set, and attributes
            outside the namespace of users be touched.
        xattr_limit: bytes of the value of an extended attribute.
    """

    read_only: bool = False
    privileged: bool = False
    xattr_limit: int = XATTR_LIMIT


class Mount:
    """A directory under a mount point.

    Args:
        point: names of the mount point; none for the top.
        root: the root that the directory is in.
        base: path of the directory in the root; empty for the root itself.
        rules: what is allowed.
    """

    def __init__(
        self, point: tuple[bytes, ...], root: WritableRoot, base: bytes, rules: Rules
    ) -> None:
        self.point = point
        self.base = base
        self.rules = rules
        self.beneath = Beneath(root.open_root)
        self._root = root

    def path(self, names: tuple[bytes, ...]) -> bytes:
        """Return the path in the root of names below the mount point.

        Raises:
            Refusal: it is one of the server's own.
        """
        path = join((self.base, *names)) if self.base else join(names)
        if OWN in names or self._root.is_own(path):
            raise Refusal(errno.ENOENT, "this name belongs to the server itself")
        return path

    @property
    def top(self) -> bytes | None:
        """Where the directory is, as the log has it; None when there is no log of it."""
        above = self._root.path
        return above if above is None or not self.base else above + b"/" + self.base

    def is_own(self, path: bytes) -> bool:
        """Say whether a path in the root is one of the server's own."""
        return path.rpartition(b"/")[2] == OWN or self._root.is_own(path)

    def change(
        self, act: Callable[[], Sequence[Touched]], about: tuple[bytes, ...], author: str
    ) -> None:
        """Change something and have it in the log; see `api.served.ServedRoot.perform`."""
        self._root.perform(act, about, author)

    def begin(
        self, act: Callable[[], Sequence[Touched]], about: tuple[bytes, ...], author: str
    ) -> Future[int] | None:
        """Change something without waiting; see `api.served.WritableRoot.begin`."""
        return self._root.begin(act, about, author)

    def write(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Change bytes of a file; see `api.served.WritableRoot.write`."""
        self._root.write(act, path, author)

    def amend(self, act: Callable[[], None], path: bytes, author: str) -> None:
        """Change attributes of a file; see `api.served.WritableRoot.amend`."""
        self._root.amend(act, path, author)

    def settle(self, path: bytes, author: str) -> None:
        """Have what was written in the log; see `api.served.WritableRoot.settle`."""
        self._root.settle(path, author)

    @contextlib.contextmanager
    def handle(self, path: bytes) -> Iterator[int]:
        """Lend a descriptor that stands for what is at a path, whatever it is, without opening it.

        Raises:
            OSError: there is nothing.
        """
        fd = self.beneath.open(path, os.O_PATH)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def entry(self, path: bytes) -> Iterator[Entry]:
        """Lend a directory and a name in it, for calls that take both and follow no link.

        Raises:
            OSError: its directory cannot be opened.
        """
        if path:
            with self.beneath.entry(path) as entry:
                yield entry
        else:
            with self.beneath.directory(path) as fd:
                yield Entry(fd, b".")

    def check_is_no_point(self, path: bytes) -> None:
        """Refuse to move or remove the mount point itself.

        Raises:
            Refusal: it is asked for.
        """
        if path == self.base:
            raise Refusal(errno.EBUSY, "this is a mount point")


class Place(NamedTuple):
    """What a path leads to.

    Attributes:
        mount: under which it lies.
        path: in the mount's root, raw.
    """

    mount: Mount
    path: bytes


class Mounts:
    """All mount points.

    Args:
        mounts: each with a point of its own.
    """

    def __init__(self, mounts: Iterable[Mount]) -> None:
        # The longest comes first: a point may lie below another one.
        self._mounts = sorted(mounts, key=lambda mount: -len(mount.point))

    def find_encoded(self, raw_path: bytes) -> Place:
        """Return what the target of a request leads to.

        Args:
            raw_path: percent-encoded.

        Raises:
            Refusal: nothing, or no client may name it.
        """
        return self.find(unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path)

    def leads_elsewhere(self, mount: Mount) -> bool:
        """Say whether another mount point, below that of a mount, leads out of its directory."""
        depth = len(mount.point)
        return any(
            other.point[:depth] == mount.point
            and other.top != b"/".join([mount.top or b"", *other.point[depth:]])
            for other in self._mounts
        )

    def find(self, path: bytes) -> Place:
        """Return what a path leads to.

        Args:
            path: absolute, raw.

        Raises:
            Refusal: as `find_encoded`.
        """
        names = _split(path)
        for mount in self._mounts:
            if names[: len(mount.point)] == mount.point:
                return Place(mount, mount.path(names[len(mount.point) :]))
        points = b", ".join(b"/" + join(mount.point) for mount in self._mounts)
        text = points.decode("utf-8", "replace")
        raise Refusal(errno.ENOENT, f"nothing is mounted there; there are: {text}")


def parse_point(text: str) -> tuple[bytes, ...]:
    """Return the names of a mount point.

    Raises:
        Refusal: it is no absolute path, or cannot be one.
    """
    return _split(os.fsencode(text))


def _split(path: bytes) -> tuple[bytes, ...]:
    if not path.startswith(b"/"):
        raise Refusal(errno.EINVAL, "a path must begin with a slash")
    if b"\0" in path:
        raise Refusal(errno.EINVAL, "a path cannot contain a NUL")
    names = tuple(name for name in path.split(b"/") if name)
    if b".." in names or b"." in names:
        raise Refusal(errno.EINVAL, 'a path cannot contain "." or ".."')
    if len(path) > PATH_MAX or any(len(name) > NAME_MAX for name in names):
        raise Refusal(errno.ENAMETOOLONG)
    return names
