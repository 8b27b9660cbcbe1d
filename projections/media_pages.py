"""Pages of files in order: merged from one index scan for each arm; nothing is sorted.

A page near an end of the list is counted to. For one in between, the marks of the arms tell a place
before it and how many files come before that (see `media_marks`), so that only some thousands are
counted, however many there are.
"""

import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Final, NamedTuple

import apsw

from eventlog.connection import fetch
from projections.media_lists import KINDS, ORDERS, Arm, beyond, place

ARMS_MAX: Final = 200
"""Scans that are merged in one statement; SQLite takes 500, and 32,766 bindings."""

NEAR: Final = 2_000
"""Files from an end of a list that are counted one by one."""

MARKS: Final = (
    "select key, number, files from media_marks where list = ? and type = ? and root = ?"
    " and parent = ? and uploader = ? order by key, number"
)

Query = tuple[str, tuple[int, ...]]


class Wanted(NamedTuple):
    """Which files are wanted, and in which order.

    Attributes:
        roots: numbers of the roots that they must be in.
        catalogs: numbers of the catalogs that they are shown in; None: any.
        types: of what type.
        uploader: number of the user who uploaded them; 0 for any.
        sort: number of the order; 0 for that of the numbers; negative for the reverse.
    """

    roots: tuple[int, ...]
    catalogs: tuple[int, ...] | None
    types: tuple[int, ...]
    uploader: int = 0
    sort: int = 0


class Place(NamedTuple):
    """A place in an order: a file's key and its number."""

    key: int
    number: int


class _Marked(NamedTuple):
    """An arm and its marks.

    Attributes:
        arm: which one.
        marks: in order.
        before: how many of its files come before each, and behind them all how many there are.
    """

    arm: Arm
    marks: list[Place]
    before: list[int]


class Listing:
    """The files that are wanted, as one read transaction sees them.

    Args:
        connection: in that transaction.
        wanted: which files, in which order.
    """

    def __init__(self, connection: apsw.Connection, wanted: Wanted) -> None:
        self._connection = connection
        self._order = abs(wanted.sort)
        self._is_reverse = wanted.sort < 0
        self._kind = KINDS[wanted.catalogs is not None, wanted.uploader > 0]
        self._arms = [self._marked(arm) for arm in _arms(wanted)]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(marked.before[-1] for marked in self._arms)

    def page(self, offset: int, limit: int) -> list[int]:
        """Return the numbers of the files of a page.

        Args:
            offset: how many come before it.
            limit: at most so many.
        """
        count = self.count
        begin, end = min(offset, count), min(offset + limit, count)
        if self._is_reverse:
            begin, end = count - end, count - begin
        if begin == end:
            return []
        found = self._ascending(begin, end, count)
        return found[::-1] if self._is_reverse else found

    def queries(
        self, offset: int, limit: int, start: Place | None = None, *, reverse: bool = False
    ) -> list[Query]:
        """Return the statements whose rows together hold some files, as key and number.

        Almost always it is one. Only where it is not, each begins at the first file.

        Args:
            offset: how many come before them.
            limit: at most so many.
            start: what comes before this place is passed over.
            reverse: whether from the end.
        """
        key = ORDERS[self._order]
        direction = "desc" if reverse else "asc"
        after = () if start is None else place(self._order, *start)
        where = self._kind.condition
        if after:
            where += f" and {beyond(self._order, '>=')}"
        groups = [self._arms[at : at + ARMS_MAX] for at in range(0, len(self._arms), ARMS_MAX)]
        if len(groups) > 1:
            offset, limit = 0, offset + limit
        part = f"select {key} as k, number as n from media where {where}"  # noqa: S608
        found: list[Query] = []
        for group in groups:
            parts = " union all ".join([part] * len(group))
            query = f"{parts} order by k {direction}, n {direction} limit ? offset ?"
            bound = chain.from_iterable((*self._kind.bindings(each.arm), *after) for each in group)
            found.append((query, (*bound, limit, offset)))
        return found

    def _ascending(self, begin: int, end: int, count: int) -> list[int]:
        """Return the numbers of the files from one place to another, counted from the first."""
        if count - end < min(begin, NEAR):
            return self._rows(count - end, end - begin, reverse=True)[::-1]
        if begin < NEAR:
            return self._rows(begin, end - begin)
        start, before = self._start(begin)
        return self._rows(begin - before, end - begin, start)

    def _rows(
        self, offset: int, limit: int, start: Place | None = None, *, reverse: bool = False
    ) -> list[int]:
        queries = self.queries(offset, limit, start, reverse=reverse)
        found = [row for query in queries for row in fetch(self._connection, *query)]
        if len(queries) > 1:
            found.sort(reverse=reverse)
            found = found[offset : offset + limit]
        return [number for _, number in found]

    def _start(self, begin: int) -> tuple[Place | None, int]:
        """Return a place at or before a file, and how many files come before that place."""
        places, about = self._guesses()
        at = bisect.bisect_right(about, begin) - 1
        while at >= 0:
            before = sum(self._before(marked, places[at]) for marked in self._arms)
            if before <= begin:
                return places[at], before
            at -= 1 + (before - begin) // NEAR
        return None, 0

    def _guesses(self) -> tuple[list[Place], list[int]]:
        """Return the marks of all arms in order, and about how many files come before each.

        Of an arm, that is between what comes before its marks on both sides.
        """
        steps: list[tuple[Place, int]] = []
        for marked in self._arms:
            edges = [0, *marked.before]
            middles = [(a + b) // 2 for a, b in pairwise(edges)]
            grown = [b - a for a, b in pairwise(middles)]
            steps += zip(marked.marks, grown, strict=True)
        steps.sort()
        first = sum(marked.before[0] // 2 for marked in self._arms)
        about = accumulate((step for _, step in steps), initial=first)
        return [mark for mark, _ in steps], list(about)[1:]

    def _before(self, marked: _Marked, mark: Place) -> int:
        """Return how many files of an arm come before a place."""
        at = bisect.bisect_right(marked.marks, mark) - 1
        if at >= 0 and marked.marks[at] == mark:
            return marked.before[at]
        known = marked.before[at] if at >= 0 else 0
        return known + self._between(marked.arm, marked.marks[at] if at >= 0 else None, mark)

    def _marked(self, arm: Arm) -> _Marked:
        list_ = self._kind.list_of(self._order)
        rows = fetch(self._connection, MARKS, (list_, *arm))
        marks = [Place(key, number) for key, number, _ in rows]
        first = self._between(arm, None, marks[0] if marks else None)
        return _Marked(arm, marks, list(accumulate((row[2] for row in rows), initial=first)))

    def _between(self, arm: Arm, start: Place | None, stop: Place | None) -> int:
        """Return how many files of an arm there are from a place up to another; None: its end."""
        where, bindings = self._kind.condition, self._kind.bindings(arm)
        for sign, edge in ((">=", start), ("<", stop)):
            if edge is not None:
                where += f" and {beyond(self._order, sign)}"
                bindings += place(self._order, *edge)
        query = f"select count(*) from media where {where}"  # noqa: S608 - our own words
        return int(fetch(self._connection, query, bindings)[0][0])


def _arms(wanted: Wanted) -> Iterator[Arm]:
    """Yield the arms of which a list is made."""
    parents: Sequence[int] = (0,) if wanted.catalogs is None else wanted.catalogs
    for parent in parents:
        for root in wanted.roots:
            for kind in wanted.types:
                yield Arm(kind, root, parent, wanted.uploader)
