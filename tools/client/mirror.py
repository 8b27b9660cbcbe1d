"""The tree as a client knows it: the one place where changes are applied.

The rules, for whoever writes a client in another language:

1. Apply the changes of a page in order. One that says `removed` takes its node out; any other is
   the whole state of its node and replaces what was known. Doing it twice does no harm.
2. A parent may come after its child. Until it has come, the child has no path.
3. Keep the page's cursor together with what the page changed, never one without the other.
4. What is answered to cursor 0 is everything there is, in pages. It says nothing of what is gone,
   so what was known before must go; but not before the last of these pages (`has_more` is false),
   because half a tree is worse than an old one.
5. `reset`, status 410, another `log_id` than before, or a cursor that went back: begin again at
   cursor 0.
"""

from collections.abc import Mapping

import msgspec

from tools.client.errors import ProtocolError
from tools.client.wire import START, SUPER_ROOT_ID, Node, Page, Position

Nodes = dict[str, Node]


class Mirror:
    """What a client knows.

    Attributes:
        position: what to ask with next.
        nodes: by id, the tree as it was when the client last had everything there was, and the
            changes since. Another dict after each new beginning.
        is_whole: whether `nodes` is what the position stands for; else a new beginning goes on.
    """

    def __init__(self) -> None:
        self.position = START
        self.nodes: Nodes = {}
        self.is_whole = False
        self._coming: Nodes | None = None

    def copy(self) -> "Mirror":
        """Return another one that knows the same."""
        other = Mirror()
        other.position = self.position
        other.nodes = self.nodes.copy()
        other.is_whole = self.is_whole
        other._coming = None if self._coming is None else self._coming.copy()
        return other

    def apply(self, page: Page) -> None:
        """Apply what was answered to this mirror's position.

        Args:
            page: as `settled` left it.

        Raises:
            ProtocolError: it holds what is no change; nothing was applied.
        """
        try:
            changes = page.decoded()
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"this is no change of a feed: {error}") from error
        if self.position.cursor == 0 or page.reset:
            self._coming, self.is_whole = {}, False
        nodes = self.nodes if self._coming is None else self._coming
        for change in changes:
            if change.node is None:
                nodes.pop(change.node_id, None)
            else:
                nodes[change.node.id] = change.node
        self.position = page.position
        if self._coming is not None and not page.has_more:
            self.nodes, self._coming, self.is_whole = self._coming, None, True


def settled(asked: Position, page: Page) -> Page:
    """Return a page as it is to be applied: one that means a new beginning becomes a plain reset.

    Args:
        asked: what it answers to.
        page: what the server said.

    Raises:
        ProtocolError: it leads nowhere: cursor 0 is refused, or the next page would be this one.
    """
    another = bool(asked.log_id and page.log_id and page.log_id != asked.log_id)
    if page.reset or another or page.cursor < asked.cursor:
        if asked == START:
            raise ProtocolError("it refuses even cursor 0; this is no feed")
        return Page(0, [], has_more=True, reset=True)
    if page.has_more and page.cursor == asked.cursor:
        raise ProtocolError(f"after cursor {asked.cursor} there is more, but it does not come")
    return page


def trail(nodes: Mapping[str, Node], node: Node) -> list[Node] | None:
    """Return a node's way from its root, the root first; None while a directory is unknown."""
    found = [node]
    while node.parent_id != SUPER_ROOT_ID:
        above = nodes.get(node.parent_id or "")
        if above is None or len(found) > len(nodes):
            return None
        found.append(above)
        node = above
    return found[::-1]


def path(nodes: Mapping[str, Node], node: Node) -> str | None:
    """Return where a node is, as names from its root's on; None while a directory is unknown."""
    way = trail(nodes, node)
    return None if way is None else "/".join(each.name for each in way)
