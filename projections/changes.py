"""The feed: what a client at a cursor has not seen yet, merged to the last event of each node."""

from typing import NamedTuple

import apsw

from eventlog.connection import fetch

PAGE = (
    "select n.position, n.number, e.record from nodes n join events e on e.position = n.position"
    " where n.position > ? and (n.parent is not null or n.number <= ?)"
    " order by n.position limit ?"
)
FLOOR = "select value from meta where key = 'floor'"
HEAD = "select seq from sqlite_sequence where name = 'events'"


class Page(NamedTuple):
    """One answer of the feed.

    Attributes:
        cursor: where the next page begins; the head of the log when `has_more` is False.
        has_more: whether there is a next page now.
        rows: position, node number and record of each change, in order of position.
        floor: of the log at the moment that the page shows. For a cursor below it, other than 0,
            the page is worth nothing: removals may be missing.
    """

    cursor: int
    has_more: bool
    rows: list[tuple[int, int, bytes]]
    floor: int = 0


def read_page(connection: apsw.Connection, cursor: int, limit: int) -> Page:
    """Read the changes after a cursor.

    A tombstone of a node that was created after the cursor is left out: that client never saw
    the node. From cursor 0 there are none at all.

    Args:
        connection: a reader's; one read transaction is held while this runs.
        cursor: a position, or 0.
        limit: at most so many changes.

    Returns:
        The page.
    """
    with connection:
        rows = fetch(connection, PAGE, (cursor, cursor, limit + 1))
        head = fetch(connection, HEAD)
        floor = read_floor(connection)
    if len(rows) > limit:
        del rows[limit:]
        return Page(cursor=rows[-1][0], has_more=True, rows=rows, floor=floor)
    return Page(cursor=head[0][0] if head else 0, has_more=False, rows=rows, floor=floor)


def read_floor(connection: apsw.Connection) -> int:
    """Return the floor: in the transaction of a page, the one that its cursor must be held to."""
    stored = fetch(connection, FLOOR)
    return int(stored[0][0]) if stored else 0
