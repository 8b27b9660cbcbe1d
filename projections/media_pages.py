"""Pages of files in order: merged from one index scan for each arm; nothing is sorted.

A page near an end of the list is counted to. For one in between, the marks of the arms tell a place
before it and how many files come before that (see `media_marks`), so that only some thousands are
counted, however many there are.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, pairwise, product
from typing import Final, NamedTuple

import apsw

from eventlog.connection import fetch
from projections.media_lists import KINDS, ORDERS, Arm, Place, pieces

ARMS_MAX: Final = 200
"""Scans that are merged in one statement; SQLite takes 500, and an arm has one or two."""

NEAR: Final = 2_000
"""Files from an end of a list that are counted one by one."""

MARKS: Final = (
    "select type, root, parent, uploader, key, number, files from media_marks"
    " where list = ? and uploader = ? and parent in (select asked.value from json_each(?) asked)"
    " order by key, number"
)

COUNTS: Final = (
    "select type, root, parent, 0, count(*) from media"
    " where parent in (select asked.value from json_each(?) asked) and type is not null"
    " group by parent, root, type"
)
OWN_COUNTS: Final = (
    "select type, root, parent, uploader, count(*) from media"
    " where uploader = ? and uploader > 0"
    " and parent in (select asked.value from json_each(?) asked) and type is not null"
    " group by parent, root, type"
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
        self._arms = [marked for marked in self._all(wanted) if marked.before[-1]]

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
        parts = pieces(self._order, start, None)
        groups = [self._arms[at : at + ARMS_MAX] for at in range(0, len(self._arms), ARMS_MAX)]
        if len(groups) > 1:
            offset, limit = 0, offset + limit
        one = f"select {key} as k, number as n from media where {self._kind.condition}"  # noqa: S608
        found: list[Query] = []
        for group in groups:
            scans = " union all ".join([f"{one}{text}" for text, _ in parts] * len(group))
            query = f"{scans} order by k {direction}, n {direction} limit ? offset ?"
            bound = ((*self._kind.bindings(a.arm), *more) for a in group for _, more in parts)
            found.append((query, (*chain.from_iterable(bound), limit, offset)))
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

    def _all(self, wanted: Wanted) -> Iterator[_Marked]:
        """Yield the arms of which a list is made; of small catalogs those that are not empty."""
        marks = self._marks(wanted)
        large = (0,) if wanted.catalogs is None else {arm.parent for arm in marks}
        for arm in product(wanted.types, wanted.roots, large, (wanted.uploader,)):
            yield self._marked(Arm(*arm), marks[Arm(*arm)])
        small = [parent for parent in wanted.catalogs or () if parent not in large]
        of = (wanted.uploader,) if wanted.uploader else ()
        for *parts, files in fetch(
            self._connection, OWN_COUNTS if of else COUNTS, (*of, _json(small))
        ):
            arm = Arm(*parts)
            if arm.root in wanted.roots and arm.type in wanted.types:
                yield _Marked(arm, [], [files])

    def _marks(self, wanted: Wanted) -> Mapping[Arm, list[tuple[Place, int]]]:
        """Return the marks of every arm, in order, and the files from each to the next."""
        parents = (0,) if wanted.catalogs is None else wanted.catalogs
        bindings = (self._kind.list_of(self._order), wanted.uploader, _json(parents))
        found: dict[Arm, list[tuple[Place, int]]] = defaultdict(list)
        for *arm, key, number, files in fetch(self._connection, MARKS, bindings):
            found[Arm(*arm)].append((Place(key, number), files))
        return found

    def _marked(self, arm: Arm, marks: Sequence[tuple[Place, int]]) -> _Marked:
        first = self._between(arm, None, marks[0][0] if marks else None)
        before = accumulate((files for _, files in marks), initial=first)
        return _Marked(arm, [mark for mark, _ in marks], list(before))

    def _between(self, arm: Arm, start: Place | None, stop: Place | None) -> int:
        """Return how many files of an arm there are from a place up to another; None: its end."""
        return self._kind.files(self._connection, arm, pieces(self._order, start, stop))


def _json(numbers: Iterable[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"
