"""Where the media library keeps what it knows: in the log, by jobs of its writer."""

import queue
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import apsw

from eventlog.connection import open_reader
from eventlog.library import (
    Ended,
    Entity,
    Facts,
    FactsFound,
    Kind,
    LibraryStated,
    Note,
    NoteChanged,
    Session,
    SessionChanged,
    Share,
    ShareChanged,
    TrashChanged,
    Trashed,
    Upload,
    UploadChanged,
    User,
    UserChanged,
)
from eventlog.log import Draft, Log, Transaction
from projections import media
from projections.library import Library
from projections.media import Row
from projections.media_pages import Listing, Wanted
from projections.tree import Tree

T = TypeVar("T")

_EVENT_OF: Final[dict[type[Entity], Callable[[str, Any], LibraryStated]]] = {
    User: UserChanged,
    Session: SessionChanged,
    Note: NoteChanged,
    Facts: FactsFound,
    Share: ShareChanged,
    Upload: UploadChanged,
    Trashed: TrashChanged,
}


class Media:
    """The library's view of the tree, as one read transaction sees it; see `projections.media`.

    Args:
        connection: in that transaction.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def row(self, number: int) -> Row | None:
        """Return a live catalog or file, or None."""
        return media.row(self._connection, number)

    def rows(self, numbers: Collection[int]) -> list[Row]:
        """Return those of some catalogs and files that are live, in the order of the numbers."""
        return media.rows(self._connection, numbers)

    def catalogs(self, parent: int) -> list[int]:
        """Return the numbers of the catalogs that are shown in one."""
        return media.catalogs(self._connection, parent)

    def above(self, number: int) -> set[int]:
        """Return a catalog and those in which it is shown; see `projections.media.above`."""
        return media.above(self._connection, number)

    def moved_catalogs(self) -> list[int]:
        """Return the catalogs that are to be shown elsewhere than they are, the newest first."""
        return media.moved_catalogs(self._connection)

    def shown_in(self, numbers: Collection[int]) -> list[int]:
        """Return what is to be shown in some catalogs because somebody said so."""
        return media.shown_in(self._connection, numbers)

    def counts(self, number: int) -> tuple[int, int]:
        """Return how many catalogs and how many files are shown in a catalog."""
        return media.counts(self._connection, number)

    def to_do(self, below: int, limit: int) -> list[int]:
        """Return pictures, videos and sound that nobody has looked at since they changed."""
        return media.to_do(self._connection, below, limit)

    def gone(self, after: int, limit: int) -> list[tuple[int, int, int]]:
        """Return nodes that are gone and of which something is still said."""
        return media.gone(self._connection, after, limit)

    def files(self, wanted: Wanted) -> Listing:
        """Return the files that are wanted, to be counted and paged through."""
        return Listing(self._connection, wanted)


class Change:
    """What a job of the library works with, while nothing else can change the log.

    Args:
        transaction: of the log.
        author: who does it.

    Attributes:
        library: what is known of the library now.
        tree: the node tree now.
        media: the library's view of it.
        now_us: time of the events, microseconds since 1970 UTC.
    """

    def __init__(self, transaction: Transaction, author: str) -> None:
        self.library = Library(transaction.connection)
        self.tree = Tree(transaction.connection)
        self.media = Media(transaction.connection)
        self.now_us = transaction.time_us
        self._transaction = transaction
        self._author = author

    def put(self, state: Entity, number: int = 0) -> int:
        """Make an entity, or change one.

        Args:
            state: all that is known of it from now on.
            number: of the entity; 0 for a new one.

        Returns:
            Its number.
        """
        event = _EVENT_OF[type(state)](self._author, state)
        position = self._transaction.append([Draft(number, event)])
        return number or position

    def is_live(self, kind: Kind, number: int) -> bool:
        """Say whether an entity has not ended."""
        return self.library.is_live(kind, number)

    def end(self, kind: Kind, number: int, reason: str) -> None:
        """End an entity for good; one that another request has ended meanwhile ends once."""
        if not self.is_live(kind, number):
            return
        self._transaction.append([Draft(number, Ended(self._author, kind, reason))])


class View:
    """All that is known, as one read transaction sees it.

    Args:
        connection: in that transaction.

    Attributes:
        library: what is known beside the files.
        tree: the nodes.
        media: the library's view of them.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.library = Library(connection)
        self.tree = Tree(connection)
        self.media = Media(connection)


class LibraryStore:
    """The library's access to the log. Any thread may use it.

    Args:
        log: the open log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._idle: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()

    def change(self, job: Callable[[Change], T], author: str) -> T:
        """Have a job run and wait until what it did is durable.

        Args:
            job: is quick, and waits for nothing.
            author: who does it, for the log.

        Returns:
            What the job returned.

        Raises:
            LogError: it could not be stored; nothing was done.
        """
        return self._log.call(lambda transaction: job(Change(transaction, author)))

    @contextmanager
    def reading(self) -> Iterator[View]:
        """Lend a view to the calling thread, in one read transaction."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = open_reader(self._log.path)
        try:
            with connection:
                yield View(connection)
        finally:
            self._idle.put(connection)

    def close(self) -> None:
        """Close the connections that nobody has borrowed."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
