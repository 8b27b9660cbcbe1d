"""Tells what a change of the feed means to someone who reads along: new, changed, moved or gone.

The seed's feed gives the state of a node, not what happened to it. What happened is found by
remembering the nodes seen before, and by the ids of this program's own server, which say at which
position a node was made.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from tools.client.wire import SUPER_ROOT_ID, Change, Node
from tools.errors import OperatorError

CREATED = "created"
MODIFIED = "modified"
MOVED = "moved"
GONE = "removed"

REMEMBERED_MAX = 100_000
"""Nodes kept in memory, some 300 bytes each; a forgotten one that moves is shown as changed."""

_VERSION_8 = "8"
_UUID_LENGTH = 36


class Sighting(NamedTuple):
    """A change, as a reader understands it.

    Attributes:
        change: created, modified, moved or removed.
        path: where the node is, or last was.
        from_path: of a moved one, where it was before; else "".
        is_directory: what it is.
        size: bytes of a regular file, else None.
    """

    change: str
    path: str
    from_path: str
    is_directory: bool
    size: int | None


class _Seen(NamedTuple):
    parent_id: str | None
    name: str
    path: str


class Sightings:
    """What was seen so far.

    Args:
        ask_path: asks the server where a node is; None when it is gone.
        from_start: everything was read from cursor 0, so that an unknown node is a new one.
    """

    def __init__(self, ask_path: Callable[[str], str | None], *, from_start: bool) -> None:
        self._ask_path = ask_path
        self._from_start = from_start
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._directories: dict[str, str | None] = {}

    def begin_page(self) -> None:
        """Forget where directories are: since the last page they may have been moved."""
        self._directories.clear()

    def see(self, raw: msgspec.Raw, after: int) -> Sighting:
        """Take in a change.

        Args:
            raw: its JSON.
            after: the cursor that it was asked for with.

        Returns:
            What it means.

        Raises:
            OperatorError: it is no change of a feed.
        """
        try:
            change = msgspec.json.decode(raw, type=Change)
        except msgspec.MsgspecError as error:
            raise OperatorError(f"this is no change of a feed: {error}") from error
        if change.node is None:
            return self._removed(change)
        return self._present(change.node, after)

    def _present(self, node: Node, after: int) -> Sighting:
        path = self._path(node)
        before = self._seen.pop(node.id, None)
        self._seen[node.id] = _Seen(node.parent_id, node.name, path)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        moved = before is not None and before[:2] != (node.parent_id, node.name)
        change = MODIFIED
        if moved:
            change = MOVED
        elif before is None and (self._from_start or _number(node.id) > after):
            change = CREATED
        from_path = before.path if before and moved else ""
        size = None if node.is_directory else node.size
        return Sighting(change, path, from_path, node.is_directory, size)

    def _removed(self, change: Change) -> Sighting:
        before = self._seen.pop(change.node_id, None)
        above = self._directory(change.parent_id) if change.parent_id else None
        if above:
            path = f"{above.rstrip('/')}/{change.name}"
        elif before:
            path = before.path
        else:
            path = f"…/{change.name}" if change.name else change.node_id
        return Sighting(GONE, path, "", change.is_directory, None)

    def _path(self, node: Node) -> str:
        """Most nodes of a page share their directories, so those are asked for, and only once."""
        if node.parent_id and node.parent_id != SUPER_ROOT_ID:
            above = self._directory(node.parent_id)
            if above:
                return f"{above.rstrip('/')}/{node.name}"
        return self._ask_path(node.id) or f"…/{node.name}"

    def _directory(self, node_id: str) -> str | None:
        if node_id not in self._directories:
            found = None if node_id == SUPER_ROOT_ID else self._ask_path(node_id)
            before = self._seen.get(node_id)
            self._directories[node_id] = found or (before.path if before else None)
        return self._directories[node_id]


def _number(node_id: str) -> int:
    """Return the position that an id of this program's own server was made at; of others, 0."""
    if len(node_id) != _UUID_LENGTH or node_id[14] != _VERSION_8:
        return 0
    try:
        return int(node_id[24:], 16)
    except ValueError:
        return 0
