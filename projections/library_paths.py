"""Finds nodes of a root by their paths, in jobs of the library."""

from collections.abc import Sequence

from eventlog.events import SUPER_ROOT
from projections.tree import Node, Tree


def number_at(tree: Tree, root: str, path: bytes) -> int | None:
    """Return the number of the node at a path in a root, or None.

    Args:
        tree: in the transaction of the job.
        root: configured name of the root.
        path: raw; empty for the root itself.
    """
    names = path.split(b"/") if path else []
    found = nodes_along(tree, root, names)
    return found[-1].number if len(found) > len(names) else None


def nodes_along(tree: Tree, root: str, names: Sequence[bytes]) -> list[Node]:
    """Return the nodes of a root and along a path in it, as far as there are any.

    Args:
        tree: in the transaction of the job.
        root: configured name of the root.
        names: raw.
    """
    roots = tree.children(SUPER_ROOT)
    found = [node for node in roots if node.state.name == root.encode()]
    for name in names if found else ():
        node = tree.child(found[-1].number, name)
        if node is None:
            break
        found.append(node)
    return found
