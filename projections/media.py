"""Questions asked of the media library's view of the tree: catalogs, and pages of files in order.

A page of files is merged from one index scan for each root, or each catalog, and type. So it costs
the rows up to its end, and nothing is sorted.
"""

from itertools import chain
from typing import Final, NamedTuple

import apsw

from eventlog.connection import fetch
from projections.library_types import FileType

CATALOGS: Final = (
    "select number, parent, root from media where parent = ? and is_catalog order by number"
)
COUNT_CATALOGS: Final = "select count(*) from media where parent = ? and is_catalog"
COUNT_FILES: Final = "select count(*) from media where parent = ? and type = ?"
COUNTED: Final = "select files from media_counts where place = ?"
TO_DO: Final = (
    "select number from media where disk_hash is not null and fact_hash is not disk_hash"
    " and type in (1, 2, 4, 8) order by number desc limit ?"
)
GONE: Final = (
    "select number, coalesce(note, 0), coalesce(facts, 0) from media"
    " where place is null and number > ? order by number limit ?"
)
ROW: Final = (
    "select number, place, parent, root, is_catalog, type, size, mtime_us, disk_duration,"
    " disk_width, disk_height from media where number = ? and place is not null and root > 0"
)

SORTS: Final = {1: "created", 2: "uploaded", 3: "size", 4: "duration", 5: "pixels"}
"""Columns of the orders that clients may ask for, by their numbers there."""

ARMS_MAX: Final = 400
"""Scans that are merged in one statement; SQLite takes 500."""


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


def catalogs(connection: apsw.Connection, parent: int) -> list[int]:
    """Return the numbers of the catalogs that are shown in one."""
    return [row[0] for row in fetch(connection, CATALOGS, (parent,))]


def counts(connection: apsw.Connection, number: int) -> tuple[int, int]:
    """Return how many catalogs and how many files are shown in a catalog."""
    files = sum(fetch(connection, COUNT_FILES, (number, kind))[0][0] for kind in FileType)
    return int(fetch(connection, COUNT_CATALOGS, (number,))[0][0]), files


def row(connection: apsw.Connection, number: int) -> Row | None:
    """Return a live catalog or file, or None."""
    found = fetch(connection, ROW, (number,))
    return Row(*found[0]) if found else None


def to_do(connection: apsw.Connection, limit: int) -> list[int]:
    """Return pictures, videos and sound that nobody has looked at since they changed.

    The newest come first.
    """
    return [row[0] for row in fetch(connection, TO_DO, (limit,))]


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


def count(connection: apsw.Connection, wanted: Wanted) -> int:
    """Return how many files are wanted."""
    if wanted.catalogs is None and not wanted.uploader:
        places = (f"{root}/{kind}" for root in wanted.roots for kind in wanted.types)
        return sum(row[0] for place in places for row in fetch(connection, COUNTED, (place,)))
    total = 0
    for arms, bindings in _statements(wanted):
        parts = " union all ".join(f"select count(*) as n from media where {arm}" for arm in arms)  # noqa: S608
        total += fetch(connection, f"select sum(n) from ({parts})", bindings)[0][0]  # noqa: S608
    return total


def page(connection: apsw.Connection, wanted: Wanted, offset: int, limit: int) -> list[int]:
    """Return the numbers of the files of a page.

    Args:
        connection: a reader's.
        wanted: which files, in which order.
        offset: how many come before it.
        limit: at most so many.
    """
    queries = page_queries(wanted, offset, limit)
    found = [row for query, bindings in queries for row in fetch(connection, query, bindings)]
    if len(queries) > 1:
        found.sort(reverse=wanted.sort < 0)
        found = found[offset : offset + limit]
    return [number for _, number in found]


def page_queries(wanted: Wanted, offset: int, limit: int) -> list[tuple[str, tuple[object, ...]]]:
    """Return the statements whose rows together hold a page, as key and number.

    Almost always it is one. Only where it is not, each begins at the first file.
    """
    key = SORTS.get(abs(wanted.sort), "number")
    direction = "desc" if wanted.sort < 0 else "asc"
    statements = _statements(wanted)
    if len(statements) > 1:
        offset, limit = 0, offset + limit
    found: list[tuple[str, tuple[object, ...]]] = []
    for arms, bindings in statements:
        parts = [f"select {key} as k, number as n from media where {arm}" for arm in arms]  # noqa: S608
        query = (
            f"{' union all '.join(parts)} order by k {direction}, n {direction} limit ? offset ?"
        )
        found.append((query, (*bindings, limit, offset)))
    return found


def _statements(wanted: Wanted) -> list[tuple[list[str], tuple[object, ...]]]:
    """Return the conditions of index scans and their bindings, in groups for one statement each.

    A plus keeps SQLite from looking for rows by a column that only sorts some of them out.
    """
    extra: tuple[int, ...] = ()
    first: list[tuple[int, ...]]
    if wanted.catalogs is not None:
        in_roots = f"+root in ({', '.join('?' * len(wanted.roots))})"
        arm, extra = f"parent = ? and type = ? and {in_roots}", wanted.roots
        first = [(number,) for number in wanted.catalogs]
        if wanted.uploader:
            arm, extra = f"{arm} and +uploader = ?", (*extra, wanted.uploader)
    elif wanted.uploader:
        arm = "uploader = ? and uploader > 0 and root = ? and type = ?"
        first = [(wanted.uploader, root) for root in wanted.roots]
    else:
        arm, first = "root = ? and type = ?", [(root,) for root in wanted.roots]
    pairs = [(*each, kind, *extra) for each in first for kind in wanted.types]
    groups = [pairs[at : at + ARMS_MAX] for at in range(0, len(pairs), ARMS_MAX)]
    return [([arm] * len(group), tuple(chain.from_iterable(group))) for group in groups]
