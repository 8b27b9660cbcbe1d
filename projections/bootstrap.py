"""The whole tree as of one position, parents first, in pages: how a new client begins.

Each page is a read transaction of its own, so that a client that takes an hour keeps nothing else
waiting and no write-ahead log growing. What happens between two pages must then not matter. It does
not, because every page says what was so as of one and the same position P, the head when the first
began, and the log still knows that: the state of a node as of P is its last event up to P, and
compaction keeps that for as long as the history window lasts. A node made after P is left out. One
that was moved, changed or removed after P comes as it was at P; the changes after P say the rest.

Should a compaction with a very short window, or a squash, have dropped what was so at P, then
something happened to the node after P, or it was appended anew. So the changes after P bring it, or
its removal, and it may be left out here. Only its place before those below it is then lost: a
client keeps what comes without a parent until that parent comes, as it does in the feed. After a
squash above P the cursor P itself is refused, and the client begins again.

Through a filter (`projections.filter`), only what matched at P is given. A directory of which it is
forgotten where it was at P counts as being nowhere. As it has changed since, the filtered changes
after P, asked with `since` P, bring what is below it.

The order is that of the numbers, which are given when nodes are made. A directory that is younger
than something that was moved into it is brought forward, with those above it that are younger too,
and passed over when its own turn comes. That is all there is to remember: one number for each such
directory, until its turn.
"""

from collections.abc import Iterator

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import Removed, State
from projections.filter import Filter, Matching
from projections.tree import state_of

PAGE = (
    "select n.number, n.position, n.parent, e.record"
    " from nodes n join events e on e.position = n.position"
    " where n.number > ? and n.number <= ? order by n.number limit ?"
)
LAST = (
    "select position, record from events where node = ? and position <= ?"
    " order by position desc limit 1"
)
PAGE_ROWS = 500
"""Nodes of one page; some 200 kB as JSON."""

Row = tuple[int, int, bytes]
"""Position, node number and record, as in a page of changes."""


class Bootstrap:
    """A walk through all nodes as of one position; used by one thread at a time.

    Args:
        position: the head of the log when the walk begins.
        wanted: what is wanted, if not everything.

    Attributes:
        position: as of which.
        is_done: whether all pages were read.
    """

    def __init__(self, position: int, wanted: Filter | None = None) -> None:
        self.position = position
        self._wanted = wanted
        self.is_done = False
        self._after = 0
        self._early: set[int] = set()

    def page(self, connection: apsw.Connection) -> list[Row]:
        """Read the next page; it may be empty though others follow.

        Args:
            connection: a reader's.

        Raises:
            CorruptRecordError: a record cannot be decoded.
        """
        with connection:
            found = fetch(connection, PAGE, (self._after, self.position, PAGE_ROWS))
            rows = [
                row
                for number, position, parent, raw in found
                for row in self._rows(connection, number, position, parent, raw)
            ]
            if self._wanted is not None:
                rows = self._matching(connection, self._wanted, rows)
        self.is_done = len(found) < PAGE_ROWS
        self._after = found[-1][0] if found else self._after
        return rows

    def _matching(self, connection: apsw.Connection, wanted: Filter, rows: list[Row]) -> list[Row]:
        matching = Matching(wanted, _Then(connection, self.position))
        return [row for row in rows if matching.matches(row[1], _state(row))]

    def _rows(
        self,
        connection: apsw.Connection,
        number: int,
        position: int,
        parent: int | None,
        raw: bytes,
    ) -> Iterator[Row]:
        """Yield a node, and before it whoever above it was not there yet."""
        if number in self._early:
            self._early.discard(number)
            return
        if position > self.position:
            then = self._then(connection, number)
            if then is None:
                return
            parent, (position, _, raw) = then
        if parent is None:
            return  # gone by then
        if parent > number:
            yield from self._brought_forward(connection, number, parent)
        yield position, number, raw

    def _brought_forward(self, connection: apsw.Connection, number: int, parent: int) -> list[Row]:
        """Return the directories above a node whose turn is still to come, the uppermost first.

        Directories that were seen while they changed places may stand in a circle; there no order
        is right.
        """
        chain: list[Row] = []
        while parent > number and parent not in self._early:
            then = self._then(connection, parent)
            if then is None:
                break
            self._early.add(parent)
            parent, row = then
            chain.append(row)
        return chain[::-1]

    def _then(self, connection: apsw.Connection, number: int) -> tuple[int, Row] | None:
        """Return a node's parent and row as of the position; None if it was gone, or forgotten."""
        row = _last(connection, number, self.position)
        return None if row is None else (_state(row).parent, row)


class _Then:
    """Where nodes were as of a position (`projections.filter.Whereabouts`)."""

    def __init__(self, connection: apsw.Connection, position: int) -> None:
        self._connection = connection
        self._position = position

    def place(self, number: int) -> tuple[int, bytes] | None:
        """Return parent and name of a node that was there; None if it was gone, or forgotten."""
        row = _last(self._connection, number, self._position)
        if row is None:
            return None
        state = _state(row)
        return state.parent, state.name


def _last(connection: apsw.Connection, number: int, position: int) -> Row | None:
    """Return the row of a node that was there at a position."""
    for found, raw in fetch(connection, LAST, (number, position)):
        if not isinstance(codec.decode(raw, found), Removed):
            return found, number, raw
    return None


def _state(row: Row) -> State:
    return state_of(codec.decode(row[2], row[0]))
