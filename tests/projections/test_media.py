"""Pages of files: every sort and filter is a merge of index scans."""

import contextlib
import itertools

import apsw
import pytest

from eventlog.events import Created, Record
from eventlog.library import LibraryEvent, Note, NoteChanged
from eventlog.schema import create_tables
from projections import media, media_pages
from projections.fold_media import MediaFold
from projections.library_types import FileType
from projections.media_lists import SORTS, Place
from projections.media_pages import Listing, Wanted
from tests.eventlog.helpers import directory_state, file_state, root_state
from tests.projections.memory import empty, store

ALL = tuple(map(int, FileType))
NAMES = (b"a.jpg", b"b.gif", b"c.mp4", b"d.mp3", b"e.txt")


def library() -> apsw.Connection:
    """Two roots with two catalogs each; in each 40 files of every type."""
    connection = empty()
    create_tables(connection, [MediaFold()])
    states = [root_state(b"one"), root_state(b"two", b"/srv/two", ino=3)]
    states += [directory_state(b"d%d" % n, parent=1 + n // 2, ino=10 + n) for n in range(4)]
    for nth, (parent, name) in enumerate(itertools.product(range(3, 7), NAMES * 8)):
        states.append(file_state(b"%d%b" % (nth, name), parent, ino=100 + nth, size=nth * 37 % 50))
    records = [Record(n, n, 0, Created("", state)) for n, state in enumerate(states, 1)]
    said: list[LibraryEvent] = [
        NoteChanged(
            "",
            Note(
                number,
                uploader=number % 3,
                width=number * 7 % 11,
                height=number % 5,
                duration_ms=number * 31 % 17,
                created_us=number * 13 % 23,
                uploaded_us=number * 3 % 29,
            ),
        )
        for number in range(7, 100)
    ]
    records += [Record(n, n, 0, event) for n, event in enumerate(said, len(records) + 1)]
    store(connection, records)
    MediaFold().apply(connection, records)
    return connection


WANTED = {
    "all": Wanted((1, 2), None, ALL),
    "a root": Wanted((2,), None, ALL),
    "pictures": Wanted((1, 2), None, (1, 2)),
    "catalogs": Wanted((1, 2), (3, 5, 6), ALL),
    "catalogs of others": Wanted((1,), (3, 5, 6), (4, 8)),
    "own": Wanted((1, 2), None, ALL, uploader=2),
    "own in a catalog": Wanted((1, 2), (3,), ALL, uploader=1),
}


def expected(connection: apsw.Connection, wanted: Wanted) -> list[int]:
    key = SORTS.get(abs(wanted.sort), "number")
    query = f"select {key}, number, root, parent, type, uploader from media where type is not null"  # noqa: S608
    found = [
        (k, n)
        for k, n, root, parent, kind, uploader in connection.execute(query)
        if root in wanted.roots
        and (wanted.catalogs is None or parent in wanted.catalogs)
        and kind in wanted.types
        and (not wanted.uploader or uploader == wanted.uploader)
    ]
    return [n for _, n in sorted(found, reverse=wanted.sort < 0)]


@pytest.mark.parametrize("sort", [0, *SORTS, *(-sort for sort in SORTS)])
@pytest.mark.parametrize("name", WANTED)
def test_every_sort_and_filter_gives_its_files_in_pages(name: str, sort: int) -> None:
    wanted = WANTED[name]._replace(sort=sort)
    with contextlib.closing(library()) as connection:
        files = expected(connection, wanted)
        assert files
        listing = Listing(connection, wanted)
        assert listing.count == len(files)
        pages = [listing.page(at, 7) for at in range(0, len(files) + 7, 7)]
        assert [number for page in pages for number in page] == files


@pytest.mark.parametrize("sort", [0, *SORTS, *(-sort for sort in SORTS)])
@pytest.mark.parametrize("name", WANTED)
def test_every_sort_and_filter_is_a_merge_of_index_scans(name: str, sort: int) -> None:
    wanted = WANTED[name]._replace(sort=sort)
    with contextlib.closing(library()) as connection:
        listing = Listing(connection, wanted)
        first = listing.queries(0, 10, reverse=sort < 0)
        for query, bindings in [*first, *listing.queries(5, 10, Place(3, 100))]:
            steps = [row[3] for row in connection.execute(f"explain query plan {query}", bindings)]
            assert not [step for step in steps if "TEMP B-TREE" in step or step.startswith("SCAN")]
            searches = [step for step in steps if step.startswith("SEARCH")]
            assert searches
            assert all("INDEX media_" in step for step in searches)


def test_more_scans_than_one_statement_takes_are_merged_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media_pages, "ARMS_MAX", 3)
    with contextlib.closing(library()) as connection:
        for sort in (0, 3, -3):
            wanted = WANTED["catalogs"]._replace(sort=sort)
            files = expected(connection, wanted)
            listing = Listing(connection, wanted)
            assert listing.page(10, 20) == files[10:30]
            assert listing.count == len(files)


def test_catalogs_are_counted() -> None:
    with contextlib.closing(library()) as connection:
        assert media.catalogs(connection, 0) == [1, 2]
        assert media.catalogs(connection, 1) == [3, 4]
        assert media.counts(connection, 1) == (2, 0)
        assert media.counts(connection, 3) == (0, 40)
        found = media.row(connection, 7)
        assert found is not None
        assert (found.parent, found.root, found.type) == (3, 1, FileType.IMAGE)
        assert media.row(connection, 999) is None
        numbers = [9, 999, 3, 7]
        assert media.rows(connection, numbers) == [media.row(connection, n) for n in (9, 3, 7)]
