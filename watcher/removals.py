"""Whether to believe a comparison that finds a great part of a root missing.

What was removed while the server looked on is told by hints, one by one. When only a comparison
finds it missing, and it is most of a large root, that looks like a disk that lost its contents, a
pool with a member missing, or a sync tool gone wrong, more often than like somebody's wish.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from projections.tree import Tree
from watcher.reconcile import Gone

NODES_MIN: Final = 1_000
"""Roots of so many nodes or fewer are believed whatever happens."""


class Withheld(NamedTuple):
    """Removals that wait for someone to confirm them.

    Attributes:
        missing: how many nodes would be removed.
        nodes: how many the root has, itself included.
    """

    missing: int = 0
    nodes: int = 0


def withhold(tree: Tree, root: int, gone: Iterable[Gone], percent: float) -> Withheld:
    """Say which removals are not to be believed without asking.

    Args:
        tree: where they are still live.
        root: number of the root.
        gone: what was found missing, renames counted out; of directories, all below is meant.
        percent: of the root's nodes, that may be removed by one comparison; 100: all.

    Returns:
        How many; none when they are to be believed.
    """
    if percent >= 100:  # noqa: PLR2004 - all
        return Withheld()
    missing = sum(_count(tree, lost) for lost in gone)
    if missing * 100 <= NODES_MIN * percent:  # spares counting the root
        return Withheld()
    nodes = tree.count_below(root)
    if nodes <= NODES_MIN or missing * 100 <= nodes * percent:
        return Withheld()
    return Withheld(missing, nodes)


def _count(tree: Tree, gone: Gone) -> int:
    return tree.count_below(gone.node.number) if gone.node.state.is_directory else 1
