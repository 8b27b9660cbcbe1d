"""What the API needs from the rest of the program, and nothing more; composition fills it in."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Protocol

from api.status import Readiness, Status
from eventlog.identifiers import NodeIds
from projections.bootstrap import Bootstrap, Row
from projections.changes import Page
from projections.filter import Filter
from projections.filtered import FilteredPage
from projections.past import Past


class FeedLog(Protocol):
    """The log and its projections, as the feed reads them."""

    @property
    def log_id(self) -> str:
        """Name of the epoch of the log's positions."""
        ...

    @property
    def ids(self) -> NodeIds:
        """Turns node numbers into public ids and back."""
        ...

    def head(self) -> int:
        """Return the last durable position, from memory: asked on every request."""
        ...

    def floor(self) -> int:
        """Return the first position that is still honoured as a cursor; 0 is always honoured."""
        ...

    def is_lost(self, cursor: int) -> bool:
        """Return whether a cursor was given by a log that a restore replaced, if by any."""
        ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called after each commit, on any thread; it must not block.

        Returns:
            A function that ends the subscription.
        """
        ...

    def changes(self, cursor: int, limit: int) -> Page:
        """Read the changes after a cursor in one read transaction.

        Called in a thread. The cursor may lie ahead of the log; the page's own cursor is then
        smaller.

        Args:
            cursor: a position, or 0.
            limit: at most so many changes.
        """
        ...

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        """Read the next page of a walk through the tree in one read transaction, in a thread."""
        ...

    def knows(self, wanted: Filter) -> bool:
        """Return whether the root and the directory of a filter exist; called in a thread."""
        ...

    def filtered(self, wanted: Filter, cursor: int, since: int, limit: int) -> FilteredPage:
        """Read the changes after a cursor through a filter, otherwise as `changes`.

        Args:
            wanted: the filter.
            cursor: a position, or 0.
            since: of the page that the cursor is from; 0 when it is not known.
            limit: at most so many changes, and what they bring with them.
        """
        ...

    def below(
        self, wanted: Filter, cursor: int, since: int, numbers: Sequence[int]
    ) -> list[tuple[int, int, bytes]]:
        """Read some of the nodes that a filtered page has `below`; called in a thread.

        Args:
            wanted: the filter.
            cursor: that the page was asked with.
            since: likewise.
            numbers: of the nodes.
        """
        ...

    def path(self, number: int) -> bytes | None:
        """Return the absolute path of a live node, or None.

        Called on the event loop's thread, so it must take microseconds and wait for nothing.
        """
        ...

    def past(self) -> AbstractContextManager[Past]:
        """Lend what answers questions about nodes, in one read transaction, to a thread."""
        ...


AskReadiness = Callable[[], Readiness]
"""Asked until it says ready for the first time, then never again."""

AskStatus = Callable[[], Status]
"""Asked for every status request, in a thread; it may read the database."""

BeginSync = Callable[[], Mapping[str, Future[str]]]
"""Begins a barrier in every root, on the event loop's thread.

The future of each root's name is done when all that was on its disk is in the log, and says how
that was found. It fails, with a reason for people, when the root is not followed. It may be
cancelled.
"""
