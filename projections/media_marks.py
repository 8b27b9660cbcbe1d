"""Keeps marks in the lists of the media library, so that a page is found without counting to it.

Some files of each arm are marks: those whose number says so, about one of `SPACING`. With each is
stored how many files lie from it to the next mark. So the table is a function of what is so last,
whatever way it came to be, and it is exact in the transaction that changed the files.

Triggers note each row of `media` that came, went or changed in `media_moves`. At the end of each
batch the fold has `settle` count them, by one statement for each list.
"""

import functools
from typing import Any, Final, NamedTuple

import apsw

from eventlog.connection import fetch
from projections.media_lists import KINDS, ORDERS, Arm, Kind, Place, pieces

SPACING: Final = 1024
"""Files from one mark to the next, about; a power of 2 up to 1024."""

IS_EMPTY: Final = "select not exists (select 1 from media_moves)"
HAS_UPLOADS: Final = "select exists (select 1 from media_moves where uploader > 0)"
CLEAR: Final = "delete from media_moves"
MARK: Final = (
    "select type, root, parent, uploader, key, files from media_marks where list = ? and number = ?"
)
FORGET: Final = "delete from media_marks where list = ? and number = ?"
PUT: Final = (
    "insert into media_marks (list, number, type, root, parent, uploader, key, files)"
    " values (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ARM: Final = "list = ?1 and type = ?2 and root = ?3 and parent = ?4 and uploader = ?5"
ADD_BEFORE: Final = (
    "update media_marks set files = files + ?8 where list = ?1 and number ="  # noqa: S608
    f" (select number from media_marks where {_ARM} and (key, number) < (?6, ?7)"
    " order by key desc, number desc limit 1)"
)
NEXT: Final = (
    f"select key, number from media_marks where {_ARM} and (key, number) > (?6, ?7)"  # noqa: S608
    " order by key, number limit 1"
)
ROW: Final = (
    "select type, root, parent, uploader, number, created, uploaded, size, duration, pixels"
    " from media"
    " where number = ? and type is not null and root is not null and parent is not null"
)


class _Row(NamedTuple):
    """A file that is a mark: its parts, and its keys in `ORDERS`."""

    type: int
    root: int
    parent: int
    uploader: int | None
    keys: tuple[int, ...]


def settle(connection: apsw.Connection) -> None:
    """Have the marks agree with the files, in the transaction that changed them."""
    if fetch(connection, IS_EMPTY)[0][0]:
        return
    has_uploads = fetch(connection, HAS_UPLOADS)[0][0]
    kinds = [kind for kind in KINDS.values() if has_uploads or not kind.by_uploader]
    marks = [row[0] for row in fetch(connection, moved_marks())]
    for kind in kinds:
        for order in ORDERS:
            for number in marks:
                _take(connection, kind.list_of(order), number)
            connection.execute(count_moves(kind, order))
    for number in marks:
        for row in map(_row, fetch(connection, ROW, (number,))):
            _set(connection, number, row)
    connection.execute(CLEAR)


def moved_marks() -> str:
    """Return the query for those of the moved files that are marks.

    The multiplier spreads numbers evenly that follow each other, or are equally far apart (Knuth,
    The Art of Computer Programming, 6.4): files of one kind may have every second number.
    """
    mixed = "((number & 2147483647) * 2654435769 & 4294967295) >> 22"
    return f"select distinct number from media_moves where {mixed} & {SPACING - 1} = 0"  # noqa: S608


@functools.cache
def count_moves(kind: Kind, order: int) -> str:
    """Return the statement that counts what came and went, by the mark before it.

    Args:
        kind: of the list.
        order: of the list.
    """
    key, number = ORDERS[order], kind.list_of(order)
    # With the plus, SQLite compares both by the index; a column it would have to convert first.
    before = (
        f"select k.number from media_marks k where k.list = {number}"  # noqa: S608 - our own names
        " and k.type = m.type and k.root = m.root"
        f" and k.parent = {'m.parent' if kind.by_parent else 0}"
        f" and k.uploader = {'m.uploader' if kind.by_uploader else 0}"
        f" and (k.key, k.number) < (+m.{key}, +m.number)"
        " order by k.key desc, k.number desc limit 1"
    )
    whose = " where m.uploader > 0" if kind.by_uploader else ""
    return (
        f"with found (mark, sign) as (select ({before}), m.sign from media_moves m{whose})"  # noqa: S608
        " update media_marks set files = files + f.moved from"
        " (select mark, sum(sign) as moved from found where mark is not null group by mark) f"
        f" where media_marks.list = {number} and media_marks.number = f.mark"
    )


def _row(found: tuple[Any, ...]) -> _Row:
    kind, root, parent, uploader, *keys = found
    return _Row(kind, root, parent, uploader, tuple(keys))


def _take(connection: apsw.Connection, list_: int, number: int) -> None:
    """Take a mark away: what it counted, the one before it counts."""
    for found in fetch(connection, MARK, (list_, number)):
        connection.execute(FORGET, (list_, number))
        *arm, key, files = found
        connection.execute(ADD_BEFORE, (list_, *arm, key, number, files))


def _set(connection: apsw.Connection, number: int, row: _Row) -> None:
    """Make a file a mark of every list that it is in, once all else is counted."""
    for kind in KINDS.values():
        if kind.by_uploader and not row.uploader:
            continue
        arm = Arm(
            row.type,
            row.root,
            row.parent if kind.by_parent else 0,
            (row.uploader or 0) if kind.by_uploader else 0,
        )
        for order in ORDERS:
            here = (kind.list_of(order), *arm, row.keys[order], number)
            files = _files_from(connection, kind, order, arm, here)
            connection.execute(ADD_BEFORE, (*here, -files))
            connection.execute(PUT, (here[0], number, *arm, row.keys[order], files))


def _files_from(
    connection: apsw.Connection, kind: Kind, order: int, arm: Arm, here: tuple[int, ...]
) -> int:
    """Return how many files lie from a place to the next mark."""
    stop = next((Place(*row) for row in fetch(connection, NEXT, here)), None)
    return kind.files(connection, arm, pieces(order, Place(here[5], here[6]), stop))
