"""Pages of a feed, written shortly."""

import msgspec

from tools.client.wire import SUPER_ROOT_ID, Node, Page

ROOT = "root"


def node(node_id: str, name: str = "", parent_id: str = ROOT, *, size: int | None = 0) -> Node:
    """A file; without a size a directory."""
    return Node(node_id, parent_id, name or node_id, size is None, size=size or 0)


def root(name: str = "media") -> Node:
    return node(ROOT, name, SUPER_ROOT_ID, size=None)


def page(cursor: int, *changes: Node | str, has_more: bool = False, log_id: str = "log") -> Page:
    """A page of nodes that are there and ids of nodes that are gone."""
    raw = [
        msgspec.json.encode({"removed": True, "node_id": change})
        if isinstance(change, str)
        else msgspec.json.encode({"removed": False, "node": change})
        for change in changes
    ]
    return Page(cursor, [msgspec.Raw(each) for each in raw], has_more, log_id)


RESET = Page(0, [], has_more=True, reset=True)
