"""Pages of the filtered feed, and those that are too long to be made in one piece.

A directory that was moved into the wanted place brings all that is below it, and that may be a
million files. A page with so many is sent in parts, each read when the client has taken the last,
so it costs no more memory than another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from api.answers import JSON_TYPE
from api.asgi import Receive, Scope, Send
from api.encode import page_json, rows_json
from api.ports import FeedLog
from api.query import ChangesQuery, Wanted
from api.sleepers import until_left
from projections.filter import Filter

if TYPE_CHECKING:
    from array import array

PART: Final = 500
"""Nodes in one part."""

Row = tuple[int, int, bytes]


class UnknownFilterError(ValueError):
    """The filter names a root or directory that this log never had."""


class Below(NamedTuple):
    """What belongs to a page besides its rows.

    Attributes:
        asked: what the page was asked with.
        cursor: of the page.
        has_more: whether there is a page after it.
        since: of the page.
        rows: of the page.
        numbers: of the nodes that are still to be read.
        floor: of the log that the page shows.
    """

    asked: ChangesQuery
    cursor: int
    has_more: bool
    since: int
    rows: list[Row]
    numbers: "array[int]"
    floor: int = 0

    def parts(self) -> Iterator["array[int]"]:
        """Yield the numbers in parts."""
        for start in range(0, len(self.numbers), PART):
            yield self.numbers[start : start + PART]


class FilteredReads:
    """Reads pages of the filtered feed; called in threads.

    Args:
        log: what is read.
    """

    def __init__(self, log: FeedLog) -> None:
        self._log = log

    def check(self, wanted: Wanted, cursor: int = 0) -> Filter:
        """Look whether a filter can match anything, for a client that begins.

        One that goes on may hold nodes of a root that is gone; it must be told of their removal.

        Args:
            wanted: the filter.
            cursor: at which the client is.

        Returns:
            The filter, as the log understands it.

        Raises:
            UnknownFilterError: it cannot.
        """
        found = self._wanted(wanted)
        if cursor == 0 and not self._log.knows(found):
            raise UnknownFilterError("there is no such root, or no node with the id in under")
        return found

    def page(self, asked: ChangesQuery) -> tuple[Below, bytes]:
        """Return a page: what it is made of, and its JSON, without what is below."""
        wanted = self._wanted(asked.wanted or Wanted())
        page = self._log.filtered(wanted, asked.cursor, asked.since, asked.limit)
        found = Below(asked, page.cursor, page.has_more, page.since, page.rows, page.below)
        found = found._replace(floor=page.floor)
        return found, self.whole(found)

    def whole(self, page: Below) -> bytes:
        """Return the JSON of a page, without what is below."""
        return self._json(page.cursor, page.rows, has_more=page.has_more, since=page.since)

    def part(self, page: Below, numbers: Sequence[int]) -> bytes:
        """Return the JSON of some of the nodes below, with commas between them."""
        return rows_json(self._rows(page, numbers), self._log.ids)

    def events(self, page: Below) -> Iterator[Callable[[], bytes]]:
        """Yield what reads a page piece by piece, each as a page of its own.

        All but the last leave the cursor where it was: whoever loses one of them begins again.
        """
        yield partial(self._piece, page, None)
        *others, last = page.parts()
        for numbers in others:
            yield partial(self._piece, page, numbers)
        yield partial(self._last, page, last)

    def _piece(self, page: Below, numbers: Sequence[int] | None) -> bytes:
        rows = page.rows if numbers is None else self._rows(page, numbers)
        return self._json(page.asked.cursor, rows, has_more=True, since=page.asked.since)

    def _last(self, page: Below, numbers: Sequence[int]) -> bytes:
        return self.whole(page._replace(rows=self._rows(page, numbers)))

    def _rows(self, page: Below, numbers: Sequence[int]) -> list[Row]:
        asked = page.asked
        wanted = self._wanted(asked.wanted or Wanted())
        return self._log.below(wanted, asked.cursor, asked.since, numbers)

    def _json(self, cursor: int, rows: list[Row], *, has_more: bool, since: int) -> bytes:
        log = self._log
        return page_json(cursor, rows, log.log_id, log.ids, has_more=has_more, since=since)

    def _wanted(self, wanted: Wanted) -> Filter:
        under = None if wanted.under is None else self._log.ids.to_number(wanted.under)
        if wanted.under is not None and under is None:
            raise UnknownFilterError("under is no id that this log ever gave")
        root = None if wanted.root is None else wanted.root.encode("utf-8", "surrogateescape")
        return Filter(root, under, wanted.mimes, wanted.kinds)


class LongPage:
    """The ASGI application that answers with a page in parts.

    Args:
        page: what it is made of.
        reads: reads the parts.
        run: runs a function in a thread.
    """

    def __init__(
        self,
        page: Below,
        reads: FilteredReads,
        run: Callable[[Callable[[], bytes]], Awaitable[bytes]],
    ) -> None:
        self._page = page
        self._reads = reads
        self._run = run

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the page, until the client leaves."""
        left = asyncio.ensure_future(until_left(receive))
        start, end = self._ends()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEAD})
            await send({"type": "http.response.body", "body": start, "more_body": True})
            is_first = not self._page.rows
            for numbers in self._page.parts():
                if left.done():
                    break
                part = await self._run(partial(self._reads.part, self._page, numbers))
                body = part if is_first or not part else b"," + part
                is_first = is_first and not part
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": end, "more_body": False})
        finally:
            left.cancel()

    def _ends(self) -> tuple[bytes, bytes]:
        """Return the JSON of the page up to the last of its rows, and what follows them."""
        empty = self._reads.whole(self._page._replace(rows=[]))
        end = empty[empty.index(b"[]") + 1 :]
        return self._reads.whole(self._page).removesuffix(end), end


_HEAD: Final = [(b"content-type", JSON_TYPE.encode())]
