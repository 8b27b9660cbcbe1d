"""Absolute paths of nodes for clients that ask one for nearly every change."""

from collections.abc import Callable

from projections.tree import Tree

DIRECTORIES_MAX = 10_000
"""Directories whose path is kept; beyond that all are forgotten."""


class Paths:
    """Answers paths from the tree, and keeps those of directories while nothing is appended.

    Args:
        tree: a reader's; used by one thread.
        head: returns the last durable position. What was read at that time may be newer, never
            older, so a path kept under a head is right until the head moves.
    """

    def __init__(self, tree: Tree, head: Callable[[], int]) -> None:
        self._tree = tree
        self._head = head
        self._kept_at = -1
        self._directories: dict[int, bytes] = {}

    def path(self, number: int) -> bytes | None:
        """Return the absolute path of a live node, or None when there is no such node."""
        head = self._head()
        if head != self._kept_at or len(self._directories) > DIRECTORIES_MAX:
            self._directories.clear()
            self._kept_at = head
        place = self._tree.place(number)
        if place is None:
            return None
        parent, name = place
        above = self._directories.get(parent)
        if above is None:
            above = self._tree.path(parent) if parent else None
            if above is None:  # a root, or a node whose directory has just gone
                return self._tree.path(number)
            self._directories[parent] = above
        return (b"" if above == b"/" else above) + b"/" + name
