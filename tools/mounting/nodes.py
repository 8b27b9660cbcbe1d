"""What the kernel knows of the filesystem: numbers of files, and where each is found.

The server knows paths, the kernel numbers. A file with several names has one number, so that tools
see hard links; a number is kept as long as the kernel refers to it.
"""

import errno
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tools.mounting.asked import Asked

if TYPE_CHECKING:
    from tools.mounting.told import Told

ROOT: Final = 1

DEPTH_MAX: Final = 2048
"""Names of a path: more do not fit into the 4,096 bytes that Linux allows."""

_OTHERS: Final = 2**48
"""From here on files of other filesystems than the first are numbered."""

Key = tuple[int, int]
"""Device and inode number, as the server tells them."""


GIVEN_MAX: Final = 2**19
"""Files that are remembered for as long as the mount lasts."""


class _Given(NamedTuple):
    """What programs were told of a file before the server had made it.

    Attributes:
        number: for the kernel.
        ctime: that the server gave it, nanoseconds since 1970.
        shown: that programs were told.
    """

    number: int
    ctime: int
    shown: int


class Node:
    """A file or directory.

    Attributes:
        number: for the kernel.
        key: on the server; None while it is not there yet.
        names: where it is: number of the directory, and name there.
        lookups: how often the kernel refers to it.
        opened: how many handles it has.
        seen: inode, size, mtime and ctime that the server told last.
        paged: those that the kernel's pages were read with.
        is_directory: whether it is one.
        pending: how many changes are on their way to the server.
        told: what programs are told meanwhile.
        found: what the server told last of a directory.
        lost_path: where it would be, if it could not be made.
        noticed: the latest ctime that the server's feed told of meanwhile.
    """

    def __init__(self, number: int, key: Key | None) -> None:
        self.number = number
        self.key = key
        self.names: dict[tuple[int, bytes], None] = {}
        self.lookups = 0
        self.opened = 0
        self.seen: tuple[int, ...] | None = None
        self.paged: tuple[int, ...] | None = None
        self.is_directory = False
        self.pending = 0
        self.told: Told | None = None
        self.noticed = 0
        self.found: Told | None = None
        self.lost_path = b""


class Nodes:
    """All that the kernel refers to.

    Args:
        dropped: told the number of what is forgotten.

    Attributes:
        asked: names at which something is being made.
    """

    def __init__(self, dropped: Callable[[int], None] = lambda _: None) -> None:
        self._dropped = dropped
        self.asked = Asked()
        root = Node(ROOT, (0, 0))
        root.lookups = 1
        self._by_number = {ROOT: root}
        self._by_key: dict[Key, Node] = {}
        self._by_name: dict[tuple[int, bytes], Node] = {}
        self._inside: Counter[int] = Counter()
        self._given: dict[Key, _Given] = {}
        self._device: int | None = None
        self._last = _OTHERS

    def __getitem__(self, number: int) -> Node:
        node = self._by_number.get(number)
        if node is None:
            raise OSError(errno.ESTALE, "the kernel means what is forgotten")
        return node

    def child(self, directory: int, name: bytes) -> Node | None:
        """Return what is known to be at a name."""
        return self._by_name.get((directory, name))

    def numbers(self) -> list[int]:
        """Return the numbers of all nodes."""
        return list(self._by_number)

    def names(self) -> list[tuple[int, bytes]]:
        """Return all names: number of the directory, and name there."""
        return list(self._by_name)

    def is_in(self, number: int, directory: int) -> bool:
        """Say whether a node is known to be in a directory."""
        node = self._by_number.get(number)
        return node is not None and any(parent == directory for parent, _ in node.names)

    def place(self, directory: int, name: bytes, key: Key) -> Node:
        """Return the node of a file that was found at a name."""
        node = self._by_key.get(key)
        if node is None:
            node = Node(self._number(key), key)
            self._by_number[node.number] = self._by_key[key] = node
        self._name(node, (directory, name))
        return node

    def place_new(self, directory: int, name: bytes) -> Node:
        """Return the node of a file that is not on the server yet."""
        self._last += 1
        node = self._by_number[self._last] = Node(self._last, None)
        self._name(node, (directory, name))
        return node

    def identify(self, node: Node, key: Key) -> None:
        """Note what a file is on the server."""
        node.key = key
        self._by_key[key] = node

    def present(self, node: Node, ctime: int, shown: int) -> None:
        """Note what programs were told of a file, so that it stays true as long as this lasts.

        Args:
            node: it.
            ctime: that the server gave it; until it has another one, programs are told of
                `shown`. git would read files again that seem to have changed.
            shown: nanoseconds since 1970.
        """
        if node.key is not None:
            self._given.pop(node.key, None)
            self._given[node.key] = _Given(node.number, ctime, shown)
            if len(self._given) > GIVEN_MAX:
                del self._given[next(iter(self._given))]

    def shown(self, key: Key, ctime: int) -> int:
        """Return the ctime that programs are told for that of the server."""
        given = self._given.get(key)
        return given.shown if given is not None and given.ctime == ctime else ctime

    def _name(self, node: Node, where: tuple[int, bytes]) -> None:
        before = self._by_name.get(where)
        if before is not node:
            if before is not None:
                before.names.pop(where, None)
            self._inside[where[0]] += before is None
            self._by_name[where] = node
        node.names.pop(where, None)
        node.names[where] = None

    def _number(self, key: Key) -> int:
        """Return a number for a file, the same one whenever it is asked for, if that is free.

        Programs remember numbers longer than the kernel does: git compares those of hard links.
        """
        given = self._given.get(key)
        if given is not None and given.number not in self._by_number:
            return given.number
        device, inode = key
        self._device = device if self._device is None else self._device
        number = inode + ROOT
        if device == self._device and number < _OTHERS and number not in self._by_number:
            return number
        self._last += 1
        return self._last

    def remove(self, directory: int, name: bytes) -> None:
        """Note that a name is gone."""
        where = (directory, name)
        node = self._by_name.pop(where, None)
        if node is not None:
            node.names.pop(where, None)
            self._leave(directory)

    def _leave(self, directory: int) -> None:
        self._inside[directory] -= 1
        if not self._inside[directory]:
            del self._inside[directory]

    def move(self, old: tuple[int, bytes], new: tuple[int, bytes]) -> None:
        """Note that what is at a name has another one now."""
        self.remove(*new)
        node = self._by_name.get(old)
        if node is not None:
            self._name(node, new)
            self.remove(*old)

    def forget(self, number: int, count: int) -> None:
        """Note that the kernel refers to a node less often."""
        node = self._by_number.get(number)
        if node is None:
            return
        node.lookups -= count
        if node.lookups <= 0 and number != ROOT:
            self.drop(node)

    def drop(self, node: Node) -> None:
        """Forget a node unless somebody needs it, then the directories that only it was needed for.

        The kernel may forget a directory while something in it is on its way to the server, which
        needs its path.
        """
        waiting = [node]
        while waiting:
            one = waiting.pop()
            if not self._is_needed(one):
                self._drop(one)
                above = {parent for parent, _ in one.names} & self._by_number.keys()
                waiting += map(self._by_number.__getitem__, above)

    def _is_needed(self, node: Node) -> bool:
        if node.number == ROOT or node.number not in self._by_number:
            return True
        known_below = bool(self._inside[node.number])
        return (
            known_below
            or node.lookups > 0
            or node.opened > 0
            or node.pending > 0
            or bool(node.told)
        )

    def _drop(self, node: Node) -> None:
        for where in node.names:
            self._by_name.pop(where, None)
            self._leave(where[0])
        self._by_number.pop(node.number, None)
        self._dropped(node.number)
        if node.key is not None and self._by_key.get(node.key) is node:
            del self._by_key[node.key]

    def disown(self, node: Node) -> None:
        """Note that the server may give the node's number to another file from now on."""
        if node.key is None or node.names:
            return
        self._given.pop(node.key, None)
        if self._by_key.get(node.key) is node:
            del self._by_key[node.key]

    def last_path(self, node: Node) -> bytes:
        """Return a path of a node as far as it is known, also below what could not be made."""
        parts: list[bytes] = []
        while node.number != ROOT and node.names and len(parts) < DEPTH_MAX:
            above, last = next(reversed(node.names))
            parts.append(last)
            if above not in self._by_number:
                break
            node = self._by_number[above]
        return b"/".join([node.lost_path, *reversed(parts)]) or b"/"

    def path(self, number: int, name: bytes = b"") -> bytes:
        """Return a path of a node, or of a name in it.

        Raises:
            OSError: it has none any more.
        """
        parts = [name] if name else []
        while number != ROOT:
            node = self[number]
            if not node.names:
                raise OSError(errno.ESTALE, "it was removed")
            number, last = next(reversed(node.names))
            parts.append(last)
            if len(parts) > DEPTH_MAX:
                # Others have moved directories into each other, and not all of that is known yet.
                self.remove(number, last)
                raise OSError(errno.ESTALE, "it was moved")
        return b"/" + b"/".join(reversed(parts))
