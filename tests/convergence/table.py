"""What the node table says is on the disk, in the terms of `tests.convergence.disk`."""

from eventlog.events import SUPER_ROOT
from projections.tree import Node, Tree
from tests.convergence.disk import Entry, Picture, kind_of


class OrphanError(AssertionError):
    """The table holds nodes that hang from no root, or two at one path."""


def table_picture(tree: Tree) -> Picture:
    """Return all nodes by their paths.

    Raises:
        OrphanError: some have no path of their own.
    """
    found: Picture = {}
    for root in tree.children(SUPER_ROOT):
        _enter(tree, root, root.state.target, found)
    if len(found) != tree.count():
        raise OrphanError(f"{tree.count()} nodes, of which {len(found)} have a path of their own")
    return found


def _enter(tree: Tree, node: Node, path: bytes, found: Picture) -> None:
    state = node.state
    kind = kind_of(state.mode)
    if kind == "directory":
        found[path] = Entry(kind)
        for child in tree.children(node.number):
            _enter(tree, child, path + b"/" + child.state.name, found)
    else:
        found[path] = Entry(kind, state.size, state.mtime_ns // 1000, state.hash.hex())
