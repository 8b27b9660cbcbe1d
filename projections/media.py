"""Questions asked of the media library's view of the tree; pages of files: see `media_pages`."""

from collections.abc import Collection
from typing import Final, NamedTuple

import apsw

from eventlog.connection import fetch
from projections.library_types import FileType
from projections.media_pages import Listing, Wanted

CATALOGS: Final = (
    "select number, parent, root from media where parent = ? and is_catalog order by number"
)
COUNT_CATALOGS: Final = "select count(*) from media where parent = ? and is_catalog"
COUNT_STRAYS: Final = (
    "select count(*) from media where parent = ? and root is not ? and type is not null"
)
TO_DO: Final = (
    "select number from media where disk_hash is not null and fact_hash is not disk_hash"
    " and type in (1, 2, 4, 8) and number < ? order by number desc limit ?"
)
GONE: Final = (
    "select number, coalesce(note, 0), coalesce(facts, 0) from media"
    " where place is null and number > ? order by number limit ?"
)
ABOVE: Final = (
    "with recursive up (number, parent) as ("
    " select number, parent from media where number = ?"
    " union"
    " select m.number, m.parent from up join media m on m.number = up.parent)"
    " select number from up"
)
MOVED_CATALOGS: Final = (
    "select number from media where note_parent > 0 and is_catalog and place is not null"
)
SHOWN_IN: Final = (
    "select number from media where note_parent > 0 and place is not null"
    " and note_parent in (select asked.value from json_each(?) asked)"
)
_ROW: Final = (
    "select number, place, parent, root, is_catalog, type, size, mtime_us, disk_duration,"
    " disk_width, disk_height from media where place is not null and root > 0 and number"
)
ROW: Final = f"{_ROW} = ?"
ROWS: Final = f"{_ROW} in (select asked.value from json_each(?) asked)"  # noqa: S608 - our words


class Row(NamedTuple):
    """A catalog or file as the disk says it is, and where it is shown.

    Attributes:
        number: of the node.
        place: number of the directory that it is in; 0 for a root.
        parent: number of the catalog that it is shown in.
        root: number of its root.
        is_catalog: whether it is a directory.
        type: a `FileType`; None for a catalog.
        size: bytes; None for a catalog.
        mtime_us: when it was changed last, microseconds since 1970 UTC.
        duration_ms, width, height: as the file says; None when it does not.
    """

    number: int
    place: int
    parent: int
    root: int
    is_catalog: int
    type: int | None
    size: int | None
    mtime_us: int
    duration_ms: int | None
    width: int | None
    height: int | None


def catalogs(connection: apsw.Connection, parent: int) -> list[int]:
    """Return the numbers of the catalogs that are shown in one."""
    return [row[0] for row in fetch(connection, CATALOGS, (parent,))]


def above(connection: apsw.Connection, number: int) -> set[int]:
    """Return a catalog and those in which it is shown, directly and not.

    Its root is not among them when it is shown nowhere, because catalogs stand in a circle.
    """
    return {row[0] for row in fetch(connection, ABOVE, (number,))}


def moved_catalogs(connection: apsw.Connection) -> list[int]:
    """Return the catalogs that are to be shown elsewhere than they are, the newest first."""
    return sorted((row[0] for row in fetch(connection, MOVED_CATALOGS)), reverse=True)


def shown_in(connection: apsw.Connection, numbers: Collection[int]) -> list[int]:
    """Return what is to be shown in some catalogs because somebody said so."""
    asked = f"[{','.join(map(str, numbers))}]"
    return sorted(row[0] for row in fetch(connection, SHOWN_IN, (asked,)))


def counts(connection: apsw.Connection, number: int) -> tuple[int, int]:
    """Return how many catalogs and how many files are shown in a catalog."""
    found = row(connection, number)
    roots = (found.root,) if found else ()
    files = Listing(connection, Wanted(roots, (number,), tuple(map(int, FileType)))).count
    strays = fetch(connection, COUNT_STRAYS, (number, found.root if found else None))[0][0]
    return int(fetch(connection, COUNT_CATALOGS, (number,))[0][0]), files + int(strays)


def row(connection: apsw.Connection, number: int) -> Row | None:
    """Return a live catalog or file, or None."""
    found = fetch(connection, ROW, (number,))
    return Row(*found[0]) if found else None


def rows(connection: apsw.Connection, numbers: Collection[int]) -> list[Row]:
    """Return those of some catalogs and files that are live, in the order of the numbers."""
    found = fetch(connection, ROWS, (f"[{','.join(map(str, numbers))}]",))
    live = {each[0]: Row(*each) for each in found}
    return [live[number] for number in numbers if number in live]


def to_do(connection: apsw.Connection, below: int, limit: int) -> list[int]:
    """Return pictures, videos and sound that nobody has looked at since they changed.

    Args:
        connection: a reader's.
        below: only numbers below it.
        limit: at most so many.

    Returns:
        Their numbers, the newest first.
    """
    return [row[0] for row in fetch(connection, TO_DO, (below, limit))]


def gone(connection: apsw.Connection, after: int, limit: int) -> list[tuple[int, int, int]]:
    """Return nodes that are gone and of which something is still said, in order.

    Args:
        connection: a reader's.
        after: only numbers above it.
        limit: at most so many.

    Returns:
        Number, and the numbers of what people and the file itself say; 0 for nothing.
    """
    return [(row[0], row[1], row[2]) for row in fetch(connection, GONE, (after, limit))]
