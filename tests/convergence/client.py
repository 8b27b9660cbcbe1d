"""A client that only folds the feed, with the project's own client, and trusts it in nothing."""

import datetime as dt
import random
from collections.abc import Callable

from api.stream import EVENT_PAGE
from tests.convergence.disk import Entry, Picture
from tools.client.connection import FeedClient
from tools.client.errors import ClientError, UnavailableError
from tools.client.following import Following, Pace
from tools.client.mirror import Mirror, settled, trail
from tools.client.wire import Node, Page

AWAY = (0, 503)
"""What a server answers that is down or still starts; anything else from 500 on is a fault."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class FeedError(AssertionError):
    """The feed said what it must never say."""


class Client:
    """Somebody who follows the feed.

    Args:
        seed: of its random page sizes.
    """

    def __init__(self, seed: int) -> None:
        self.mirror = Mirror()
        self._random = random.Random(seed)  # noqa: S311 - what happens must be repeatable
        self._url = ""
        self._feed: FeedClient | None = None

    @property
    def cursor(self) -> int:
        return self.mirror.position.cursor

    @property
    def nodes(self) -> dict[str, Node]:
        return self.mirror.nodes

    def copy(self) -> "Client":
        """Return a client that knows what this one knows now, to come back with it much later."""
        other = Client(self._random.randrange(2**32))
        other.mirror = self.mirror.copy()
        return other

    def disconnect(self) -> None:
        """Close the connection; the next poll makes another one."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None

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
        if self._feed is None:
            self._feed = FeedClient(url)
        try:
            page = settled(
                self.mirror.position, self._feed.changes(self.mirror.position, max_size=size)
            )
        except UnavailableError as error:
            if error.status not in AWAY:
                raise FeedError(f"after {self.mirror.position}: {error}") from error
            self.disconnect()
            return False
        except ClientError as error:
            raise FeedError(f"after {self.mirror.position}: {error}") from error
        self._fold(page, size)
        return not page.has_more

    def drain(self, url: str) -> bool:
        """Fold pages until there are no more; says whether all of them came."""
        while not self.poll(url):
            if self._feed is None:
                return False
        return True

    def _fold(self, page: Page, size: int) -> None:
        """Apply a page, after checks of what a mirror would bear but this feed never does."""
        if page.reset:
            raise FeedError(f"after {self.mirror.position}: a reset, though nothing was lost")
        if len(page.changes) > size:
            raise FeedError(f"after {self.mirror.position}: {len(page.changes)} of {size} changes")
        if self.cursor == 0 and any(change.removed for change in page.decoded()):
            raise FeedError("a removal was sent to a client that knew nothing")
        self.mirror.apply(page)

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
        way = trail(self.nodes, node)
        if way is None:
            raise FeedError(f"node {node.id} ({node.name!r}) hangs from no root")
        return b"/".join([tops[way[0].name], *(each.raw_name for each in way[1:])])


class Told(Client):
    """Somebody who is told of news: by long polls or by streams.

    Args:
        seed: of its random page sizes.
        stream: by streams.
    """

    def __init__(self, seed: int, *, stream: bool) -> None:
        super().__init__(seed)
        self._pace = Pace(
            wait_seconds=self._random.choice([0.1, 1, 5]),
            interval_seconds=0.01,
            max_size=self._random.choice([1, 7, 1000]),
            stream=stream,
        )

    def follow(self, url: str, on_page: Callable[[Page], bool]) -> None:
        """Fold pages until the server is away.

        Args:
            url: where the server is now.
            on_page: called after each page; says whether to go on.

        Raises:
            FeedError: the feed broke a promise.
        """
        feed = FeedClient(url)
        try:
            for page in Following(feed, self._pace, on_trouble=_leave).pages(self.mirror.position):
                self._fold(page, max(self._pace.max_size, EVENT_PAGE))
                if not on_page(page):
                    return
        except UnavailableError as error:
            if error.status not in AWAY:
                raise FeedError(f"after {self.mirror.position}: {error}") from error
        except ClientError as error:
            raise FeedError(f"after {self.mirror.position}: {error}") from error
        finally:
            feed.close()


def _leave(error: UnavailableError) -> None:
    raise error


def _entry(node: Node) -> Entry:
    if node.is_directory:
        return Entry(node.kind)
    moment = dt.datetime.fromisoformat(node.mtime)
    return Entry(node.kind, node.size, (moment - _EPOCH) // _MICROSECOND, node.hash)
