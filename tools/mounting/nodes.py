"""What the kernel knows of the filesystem: numbers of files, and where each is found.

The server knows paths, the kernel numbers. A file with several names has one number, so that tools
see hard links; a number is kept as long as the kernel refers to it.
"""

import errno
from typing import Final

ROOT: Final = 1

_OTHERS: Final = 2**48
"""From here on files of other filesystems than the first are numbered."""

Key = tuple[int, int]
"""Device and inode number, as the server tells them."""


class Node:
    """A file or directory.

    Attributes:
        number: for the kernel.
        key: on the server.
        names: where it is: number of the directory, and name there.
        lookups: how often the kernel refers to it.
        opened: how many handles it has.
        seen: inode, size, mtime and ctime that the server told last.
        paged: those that the kernel's pages were read with.
    """

    def __init__(self, number: int, key: Key) -> None:
        self.number = number
        self.key = key
        self.names: dict[tuple[int, bytes], None] = {}
        self.lookups = 0
        self.opened = 0
        self.seen: tuple[int, ...] | None = None
        self.paged: tuple[int, ...] | None = None


class Nodes:
    """All that the kernel refers to."""

    def __init__(self) -> None:
        root = Node(ROOT, (0, 0))
        root.lookups = 1
        self._by_number = {ROOT: root}
        self._by_key: dict[Key, Node] = {}
        self._by_name: dict[tuple[int, bytes], Node] = {}
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

    def children(self, directory: int) -> list[int]:
        """Return the numbers of what is known to be in a directory and open."""
        opened = [node for node in self._by_number.values() if node.opened]
        return [n.number for n in opened if any(parent == directory for parent, _ in n.names)]

    def place(self, directory: int, name: bytes, key: Key) -> Node:
        """Return the node of a file that was found at a name."""
        node = self._by_key.get(key)
        if node is None:
            node = Node(self._number(key), key)
            self._by_number[node.number] = self._by_key[key] = node
        where = (directory, name)
        before = self._by_name.get(where)
        if before is not node:
            if before is not None:
                before.names.pop(where, None)
            self._by_name[where] = node
        node.names.pop(where, None)
        node.names[where] = None
        return node

    def _number(self, key: Key) -> int:
        """Return a number for a file, the same one whenever it is asked for, if that is free.

        Programs remember numbers longer than the kernel does: git compares those of hard links.
        """
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

    def move(self, old: tuple[int, bytes], new: tuple[int, bytes]) -> None:
        """Note that what is at a name has another one now."""
        self.remove(*new)
        node = self._by_name.get(old)
        if node is not None:
            self.remove(*old)
            self._by_name[new] = node
            node.names[new] = None

    def forget(self, number: int, count: int) -> None:
        """Note that the kernel refers to a node less often."""
        node = self._by_number.get(number)
        if node is None:
            return
        node.lookups -= count
        if node.lookups <= 0 and number != ROOT:
            self.drop(node)

    def drop(self, node: Node) -> None:
        """Forget a node unless somebody needs it."""
        if node.lookups > 0 or node.opened > 0:
            return
        for where in node.names:
            self._by_name.pop(where, None)
        self._by_number.pop(node.number, None)
        if self._by_key.get(node.key) is node:
            del self._by_key[node.key]

    def disown(self, node: Node) -> None:
        """Note that the server may give the node's number to another file from now on."""
        if not node.names and self._by_key.get(node.key) is node:
            del self._by_key[node.key]

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
        return b"/" + b"/".join(reversed(parts))
