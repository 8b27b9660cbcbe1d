"""The feed through a filter: the rule is in `projections.filter`, this reads the log for it."""

from array import array
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Created, Event, Removed, State
from projections.changes import HEAD, PAGE, read_floor
from projections.filter import LEFT, Filter, Membership, Step, Steps
from projections.tree import PLACE

SCANNED_MAX: Final = 5_000
"""Changes that one page looks at. What a filter keeps back must not keep the client waiting."""

STATES_MAX: Final = 256
"""States of one node that are looked at; a node that has had more may have had any."""

INLINE_MAX: Final = 1_000
"""So many nodes below a moved directory are told in the page itself; more come in parts."""

STATES = (
    "select position, record from events where node = ?1 and position >= coalesce("
    "(select max(position) from events where node = ?1 and position <= ?2), 0)"
    " order by position limit ?3"
)
BELOW = (
    "with recursive below (number) as ("
    " select number from nodes where parent = ?1 and number <> ?1"
    " union all"
    " select n.number from below join nodes n on n.parent = below.number and n.number <> ?1)"
    " select n.number from below join nodes n on n.number = below.number where n.position <= ?2"
)
NODE = (
    "select n.position, n.number, e.record from nodes n join events e on e.position = n.position"
    " where n.number = ?"
)
ROOT = "select 1 from nodes where parent = 0 and name = ? limit 1"
KNOWN = "select 1 from nodes where number = ?"

Row = tuple[int, int, bytes]


class FilteredPage(NamedTuple):
    """One answer of the filtered feed.

    Attributes:
        cursor: where the next page begins; the head of the log when `has_more` is False.
        has_more: whether there is a next page now.
        since: what goes with the cursor, see `projections.filter`.
        rows: position, node number and record of each change; the record of what left the filter
            is a tombstone with the reason `LEFT`.
        below: numbers of further nodes that belong to this page: see `read_below`.
        floor: as in `projections.changes.Page`.
    """

    cursor: int
    has_more: bool
    since: int
    rows: list[Row]
    below: "array[int]"
    floor: int = 0


class _Found(NamedTuple):
    rows: list[Row]
    cursor: int
    crossed: int | None


def read_page(
    connection: apsw.Connection, wanted: Filter, cursor: int, since: int, limit: int
) -> FilteredPage:
    """Read the changes after a cursor that matter to a filter.

    Args:
        connection: a reader's; one read transaction is held while this runs.
        wanted: the filter.
        cursor: a position, or 0: the client has nothing.
        since: of the answer that the cursor is from; 0 when it is not known.
        limit: at most so many changes, and what they bring with them.
    """
    with connection:
        head, floor = _head(connection), read_floor(connection)
        since = _effective(since, cursor, head)
        scanned = fetch(connection, PAGE, (cursor, cursor, SCANNED_MAX + 1))
        reader = _Reader(connection, wanted, cursor, since)
        rows, upto, crossed = reader.page(scanned[:SCANNED_MAX], limit)
        below = reader.below(crossed)
        if len(below) <= INLINE_MAX:
            rows += reader.nodes(below)
            below = array("q")
    if scanned and upto < scanned[-1][0]:
        page = FilteredPage(upto, has_more=True, since=since, rows=rows, below=below)
    else:
        page = FilteredPage(head, has_more=False, since=head, rows=rows, below=below)
    return page._replace(floor=floor)


def read_below(
    connection: apsw.Connection, wanted: Filter, cursor: int, since: int, numbers: Iterable[int]
) -> list[Row]:
    """Read some of the nodes that a page has `below`.

    This may happen in a later transaction than the page: what changes in between comes again.

    Args:
        connection: a reader's; one read transaction is held while this runs.
        wanted: the filter.
        cursor: that the page was asked with.
        since: likewise.
        numbers: of the nodes.
    """
    with connection:
        since = _effective(since, cursor, _head(connection))
        told = _Reader(connection, wanted, cursor, since).nodes(numbers)
    return told  # noqa: RET504 - a return inside would leave mypy to think that there is none


def is_known(connection: apsw.Connection, wanted: Filter) -> bool:
    """Return whether the root and the directory of a filter exist, or the latter once did."""
    if wanted.root is not None and not fetch(connection, ROOT, (wanted.root,)):
        return False
    return wanted.under in {None, SUPER_ROOT} or bool(fetch(connection, KNOWN, (wanted.under,)))


class _Reader:
    """Reads one page in one transaction.

    Args:
        connection: inside a transaction.
        wanted: the filter.
        cursor: what the client may know is not newer.
        since: see `projections.filter`.
    """

    def __init__(
        self, connection: apsw.Connection, wanted: Filter, cursor: int, since: int
    ) -> None:
        self._cursor = cursor
        self._membership = Membership(wanted, _Nodes(connection, since))
        self._connection = connection

    def page(self, rows: Iterable[Row], limit: int) -> _Found:
        """Keep what matters, up to a limit, or to a directory that brings others with it."""
        kept: list[Row] = []
        upto = self._cursor
        for position, number, record in rows:
            upto = position
            event = codec.decode(record, position)
            kept.extend(self._told(position, number, record, event))
            if self._has_crossed(number, event):
                return _Found(kept, upto, number)
            if len(kept) >= limit:
                break
        return _Found(kept, upto, None)

    def below(self, crossed: int | None) -> "array[int]":
        """Return the nodes below a directory that have no turn of their own after the cursor."""
        if crossed is None:
            return array("q")
        numbers = self._connection.execute(BELOW, (crossed, self._cursor))
        return array("q", (number for (number,) in numbers))

    def nodes(self, numbers: Iterable[int]) -> list[Row]:
        """Return what is to be told of nodes, whatever their last events are."""
        told: list[Row] = []
        for each in numbers:
            for position, number, record in fetch(self._connection, NODE, (each,)):
                told.extend(self._told(position, number, record, codec.decode(record, position)))
        return told

    def _told(self, position: int, number: int, record: bytes, event: Event) -> list[Row]:
        if not isinstance(event, Removed) and self._membership.matches(number, event.state):
            return [(position, number, record)]
        if number > self._cursor or not self._membership.may_have_matched(number):
            return []
        return [(position, number, record if isinstance(event, Removed) else _left(event.state))]

    def _has_crossed(self, number: int, event: Event) -> bool:
        if isinstance(event, Removed | Created) or not event.state.is_directory:
            return False
        return self._membership.may_have_crossed(number)


class _Nodes:
    """What is known of nodes (`projections.filter.Lookup`), remembered for one transaction."""

    def __init__(self, connection: apsw.Connection, since: int) -> None:
        self._connection = connection
        self._since = since
        self._steps: dict[int, Steps] = {}

    def steps(self, number: int) -> Steps:
        """Return the states of a node since `since`."""
        found = self._steps.get(number)
        if found is None:
            bindings = (number, self._since, STATES_MAX + 1)
            rows = fetch(self._connection, STATES, bindings)
            begins = bool(rows) and (rows[0][0] <= self._since or rows[0][0] == number)
            is_whole = begins and len(rows) <= STATES_MAX
            found = self._steps[number] = Steps(tuple(_steps(rows)), is_whole)
        return found

    def place(self, number: int) -> tuple[int, bytes] | None:
        """Return parent and name of a live node, or None."""
        rows = fetch(self._connection, PLACE, (number,))
        return (rows[0][0], rows[0][1]) if rows else None


def _steps(rows: Iterable[tuple[int, bytes]]) -> Iterator[Step]:
    for position, record in rows:
        event = codec.decode(record, position)
        if not isinstance(event, Removed):
            state = event.state
            yield Step(state.parent, state.name, state.mode, state.mime)


def _left(state: State) -> bytes:
    return codec.encode(Removed("", LEFT, state.parent, state.name, state.mode))


def _effective(since: int, cursor: int, head: int) -> int:
    """Return what the client's word is worth: nothing if it is of no position of this log."""
    if cursor == 0:
        return head  # it holds nothing, so all it will hold is read from now on
    return since if since <= head else 0


def _head(connection: apsw.Connection) -> int:
    rows = fetch(connection, HEAD)
    return rows[0][0] if rows else 0
