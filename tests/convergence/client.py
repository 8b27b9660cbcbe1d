"""A client that only folds the feed, as its contract says, and knows nothing else."""

import base64
import copy
import datetime as dt
import http.client
import random
from typing import Any

from tests.convergence.disk import Entry, Picture
from tests.serving import NOT_READY, OK, Connection

SUPER_ROOT_ID = "00000000-0000-0000-0000-000000000000"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

Node = dict[str, Any]


class FeedError(AssertionError):
    """The feed said what it must never say."""


class Client:
    """Somebody who follows the feed.

    Args:
        seed: of its random page sizes.
    """

    def __init__(self, seed: int) -> None:
        self.cursor = 0
        self.log_id = ""
        self.nodes: dict[str, Node] = {}
        self._random = random.Random(seed)  # noqa: S311 - what happens must be repeatable
        self._url = ""
        self._connection: Connection | None = None

    def copy(self) -> "Client":
        """Return a client that knows what this one knows now, to come back with it much later."""
        other = Client(self._random.randrange(2**32))
        other.cursor, other.log_id = self.cursor, self.log_id
        other.nodes = copy.copy(self.nodes)
        return other

    def disconnect(self) -> None:
        """Close the connection; the next poll makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def poll(self, url: str) -> bool:
        """Fetch one page and fold it.

        Args:
            url: where the server is now.

        Returns:
            Whether this client has seen all there was; False also when the server is away.

        Raises:
            FeedError: the feed broke a promise.
        """
        if url != self._url:
            self.disconnect()
            self._url = url
        size = self._random.choice([1, 2, 7, 50, 1000, 10_000])
        try:
            if self._connection is None:
                self._connection = Connection(url)
            status, page = self._connection.get(
                f"/api/v1/changes?cursor={self.cursor}&max_size={size}"
            )
        except (OSError, http.client.HTTPException):
            self.disconnect()
            return False
        if status == NOT_READY:
            return False
        if status != OK:
            raise FeedError(f"cursor {self.cursor} was answered with {status}: {page}")
        return self._fold(page, size)

    def drain(self, url: str) -> bool:
        """Fold pages until there are no more; says whether all of them came."""
        while not self.poll(url):
            if self._connection is None:
                return False
        return True

    def _fold(self, page: dict[str, Any], size: int) -> bool:
        changes = page["changes"]
        if self.log_id not in ("", page["log_id"]):
            raise FeedError("the log has another name after a restart")
        if len(changes) > size or page["cursor"] < self.cursor:
            raise FeedError(f"cursor {self.cursor}: {len(changes)} changes to {page['cursor']}")
        if page["has_more"] and page["cursor"] == self.cursor:
            raise FeedError(f"cursor {self.cursor}: the page does not advance")
        self.log_id = page["log_id"]
        for change in changes:
            if change["removed"]:
                if self.cursor == 0:
                    raise FeedError("a removal was sent to a client that knew nothing")
                self.nodes.pop(change["node_id"], None)
            else:
                self.nodes[change["node"]["id"]] = change["node"]
        self.cursor = page["cursor"]
        return not page["has_more"]

    def picture(self, tops: dict[str, bytes]) -> Picture:
        """Return what the folded nodes say is on the disk.

        Args:
            tops: path of each root by its name.

        Raises:
            FeedError: two nodes are at one path, or a node hangs from nothing.
        """
        found: Picture = {}
        for node in self.nodes.values():
            path = self._path(node, tops)
            if path in found:
                raise FeedError(f"two live nodes are at {path!r}")
            found[path] = _entry(node)
        return found

    def _path(self, node: Node, tops: dict[str, bytes]) -> bytes:
        names: list[bytes] = []
        while node["parent_id"] != SUPER_ROOT_ID:
            names.append(_raw(node))
            above = self.nodes.get(node["parent_id"])
            if above is None or len(names) > len(self.nodes):
                raise FeedError(f"node {node['id']} ({names[-1]!r}) hangs from no root")
            node = above
        return b"/".join([tops[node["name"]], *reversed(names)])


def _raw(node: Node) -> bytes:
    if "name_raw" in node:
        return base64.b64decode(node["name_raw"])
    return str(node["name"]).encode()


def _entry(node: Node) -> Entry:
    if node["is_directory"]:
        return Entry(node["kind"])
    moment = dt.datetime.fromisoformat(node["mtime"])
    return Entry(node["kind"], node["size"], (moment - _EPOCH) // _MICROSECOND, node["hash"])
