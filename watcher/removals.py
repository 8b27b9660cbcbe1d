"""Which removals to believe at once.

A name that vanished may have been renamed to a place that was not looked at yet. And a comparison
may find a great part of a root missing.

What was removed while the server looked on is told by hints, one by one. When only a comparison
finds it missing, and it is most of a large root, that looks like a disk that lost its contents, a
pool with a member missing, or a sync tool gone wrong, more often than like somebody's wish.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from eventlog.events import Reason
from projections.tree import Tree
from watcher.backend import Place, Sign
from watcher.observation import Observation
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


def sort_gone(
    gone: Iterable[Gone], seen: Mapping[Place, Observation]
) -> tuple[list[Gone], list[Gone]]:
    """Tell names that were unlinked from those that may have been renamed to elsewhere.

    Args:
        gone: nodes that were seen nowhere any more.
        seen: what was looked at, the places of these nodes among it.

    Returns:
        The ones and the others.
    """
    certain: list[Gone] = []
    uncertain: list[Gone] = []
    for lost in gone:
        state = lost.node.state
        signs = seen[Place(state.parent, state.name)].signs
        unlinked = Sign.DELETED in signs and Sign.MOVED_FROM not in signs
        (certain if unlinked or lost.reason == Reason.EXCLUDED else uncertain).append(lost)
    return certain, uncertain
