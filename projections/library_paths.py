"""Finds nodes of a root by their paths, in jobs of the library."""

from eventlog.events import SUPER_ROOT
from projections.tree import Tree


def number_at(tree: Tree, root: str, path: bytes) -> int | None:
    """Return the number of the node at a path in a root, or None.

    Args:
        tree: in the transaction of the job.
        root: configured name of the root.
        path: raw; empty for the root itself.
    """
    roots = tree.children(SUPER_ROOT)
    number = next((node.number for node in roots if node.state.name == root.encode()), None)
    for name in path.split(b"/") if path else ():
        node = None if number is None else tree.child(number, name)
        number = node.number if node else None
    return number
