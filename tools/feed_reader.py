"""The log and its projections as the API reads them, with a reading connection for each thread."""

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import apsw

from eventlog.connection import open_reader
from eventlog.epochs import is_lost
from eventlog.identifiers import NodeIds
from eventlog.log import Log
from projections import filtered
from projections.bootstrap import Bootstrap, Row
from projections.changes import Page, read_page
from projections.filter import Filter
from projections.filtered import FilteredPage
from projections.overlay import Overlays
from projections.past import Past, reading
from projections.paths import Paths
from projections.snapshot_store import SnapshotStore
from projections.touches import Touch, read_touches
from projections.tree import Tree


class FeedReader:
    """The log and its projections as the API reads them (`api.ports.FeedLog`).

    Args:
        log: what is read.
        store: its snapshots, or None.
    """

    def __init__(self, log: Log, store: SnapshotStore | None = None) -> None:
        self._log = log
        self._store = store
        self._idle: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        self._for_paths = open_reader(log.path)
        self._paths = Paths(Tree(self._for_paths), self.head)
        self._overlays = Overlays()

    @property
    def log_id(self) -> str:
        """Name of the epoch of the log's positions."""
        return self._log.log_id

    @property
    def ids(self) -> NodeIds:
        """Turns node numbers into public ids and back."""
        return self._log.ids

    def head(self) -> int:
        """Return the last durable position."""
        return self._log.head

    def floor(self) -> int:
        """Return the first position that is still honoured as a cursor."""
        return self._log.floor

    def is_lost(self, cursor: int) -> bool:
        """Return whether a cursor was given by a log that a restore replaced, if by any."""
        return is_lost(cursor, self._log.gaps)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called after each commit; returns what ends that."""
        return self._log.wakeup.subscribe(callback)

    def changes(self, cursor: int, limit: int) -> Page:
        """Read the changes after a cursor; any thread may call."""
        with self.connection() as connection:
            return read_page(connection, cursor, limit)

    def touches(self, after: int) -> tuple[int, list[Touch]]:
        """Read what was touched after a position; any thread may call."""
        with self.connection() as connection:
            return read_touches(connection, after)

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        """Read the next page of a walk through the tree; any thread may call."""
        with self.connection() as connection:
            return walk.page(connection)

    def knows(self, wanted: Filter) -> bool:
        """Return whether the root and the directory of a filter exist."""
        with self.connection() as connection:
            return filtered.is_known(connection, wanted)

    def filtered(self, wanted: Filter, cursor: int, since: int, limit: int) -> FilteredPage:
        """Read the changes after a cursor through a filter."""
        with self.connection() as connection:
            return filtered.read_page(connection, wanted, cursor, since, limit)

    def below(
        self, wanted: Filter, cursor: int, since: int, numbers: Sequence[int]
    ) -> list[tuple[int, int, bytes]]:
        """Read some of the nodes that a filtered page has `below`."""
        with self.connection() as connection:
            return filtered.read_below(connection, wanted, cursor, since, numbers)

    def path(self, number: int) -> bytes | None:
        """Return the absolute path of a live node; only the event loop's thread may call."""
        return self._paths.path(number)

    @contextmanager
    def past(self) -> Iterator[Past]:
        """Lend what answers questions about nodes, in one read transaction, to a thread."""
        with (
            self.connection() as connection,
            reading(connection, self._overlays, self._store) as past,
        ):
            yield past

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """Lend a reading connection to the calling thread."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = open_reader(self._log.path)
        try:
            yield connection
        finally:
            self._idle.put(connection)

    def close(self) -> None:
        """Close the connections that nobody has borrowed, so that the log can end its WAL."""
        self._for_paths.close()
        while not self._idle.empty():
            self._idle.get_nowait().close()
