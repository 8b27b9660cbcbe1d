"""Every stored query finds its rows through an index, or is named here with its reason."""

import re
from importlib import resources
from types import ModuleType

import apsw
import pytest

from eventlog import archive, check, compaction, history, whole
from eventlog.schema import create_tables, run
from projections import (
    bootstrap,
    changes,
    filtered,
    fold_media,
    from_snapshot,
    library,
    media,
    media_marks,
    media_pages,
    overlay,
    past,
    past_tree,
    snapshot,
    tree,
)
from projections.replay import LIBRARY_FOLDS

SCANS = {
    "archive.META": "a handful of rows",
    "check.META": "a handful of rows",
    "check.TIMES": "checks every event",
    "check.HISTORIES": "checks every event",
    "media_marks.IS_EMPTY": "ends at the first row",
    "media_marks.HAS_UPLOADS": "a batch of files, which the statements after it read as well",
    "snapshot.META": "a handful of rows",
    "snapshot.NUMBERS": "writes every node",
    "snapshot.ENTITIES": "writes every entity of the library",
    "snapshot.ANY_ENTITY": "ends at the first row",
    "snapshot.HAS_LIBRARY": "a handful of rows",
    "snapshot.GONE": "writes every tombstone, which nobody else asks for",
    "tree.COUNT_EVENTS": "counts all events, for a status",
}
"""Queries that read a whole table or index, each with the reason why that is right."""

SORTS = {
    "media_pages.MARKS": "one of a thousand files, of several arms",
    "tree.PATH": "the chain from the root, a few rows",
    "tree.DESCENDANTS": "the deepest first: all of them are needed at once",
}
"""Queries that sort what they found."""

SMALL = re.compile(
    r"SCAN (up|below|asked|CONSTANT ROW|\d+ CONSTANT ROWS|sqlite_sequence|pragma_\w+)\b"
)
"""The rows of a recursive query, those of a statement itself, and the row that holds the head."""


def queries(module: ModuleType) -> dict[str, str]:
    """Return the constants of a module that are SQL."""
    short = module.__name__.rpartition(".")[2]
    return {
        f"{short}.{name}": value
        for name, value in vars(module).items()
        if name.isupper()
        and not name.startswith("_")
        and isinstance(value, str)
        and value.startswith(("select ", "with "))
    }


MODULES = (
    *(tree, changes, check, past, past_tree, overlay, history, compaction, archive, whole),
    *(snapshot, from_snapshot, bootstrap, filtered, library, media, fold_media),
    *(media_marks, media_pages),
)
QUERIES = {name: query for module in MODULES for name, query in queries(module).items()}


def plan(query: str) -> list[str]:
    """Return the steps by which SQLite would answer a query."""
    connection = apsw.Connection(":memory:")
    run(connection, resources.files("eventlog").joinpath("schema.sql").read_text())
    create_tables(connection, LIBRARY_FOLDS)
    numbered = {int(number) for number in re.findall(r"\?(\d)", query)}
    count = max(numbered) if numbered else query.count("?")
    rows = connection.execute(f"explain query plan {query}", [None] * count)
    return [step for _, _, _, step in rows]


def test_there_are_queries() -> None:
    assert len(QUERIES) > 15


def test_every_exception_is_of_a_query() -> None:
    assert (SCANS.keys() | SORTS.keys()) <= QUERIES.keys()


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_finds_its_rows_through_an_index(name: str) -> None:
    scans = [s for s in plan(QUERIES[name]) if s.startswith("SCAN") and not SMALL.match(s)]
    assert bool(scans) == (name in SCANS), scans


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_takes_its_order_from_an_index(name: str) -> None:
    sorts = [step for step in plan(QUERIES[name]) if "TEMP B-TREE" in step]
    assert bool(sorts) == (name in SORTS), sorts


def test_a_scan_would_be_found() -> None:
    steps = plan("select * from nodes where fs = ? order by ino")
    assert any(step.startswith("SCAN nodes") for step in steps)
    assert any("TEMP B-TREE" in step for step in steps)
