"""Pages are found by marks as they would be found by counting, whatever happened before."""

import itertools
from collections.abc import Iterator, Sequence

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import Created, Modified, Moved, Record, Removed, State
from eventlog.library import Note, NoteChanged
from eventlog.schema import create_tables
from projections import media_marks, media_pages
from projections.fold_media import MediaFold
from projections.library_types import FileType
from projections.media_lists import KINDS, ORDERS, Arm
from projections.media_pages import Listing, Wanted
from tests.eventlog.helpers import directory_state, file_state, root_state
from tests.projections.memory import empty, store
from tests.strategies import mixed_histories

ALL = tuple(map(int, FileType))
ENDINGS = (b"jpg", b"mp4", b"txt")


@pytest.fixture(autouse=True, scope="module")
def _close_marks() -> Iterator[None]:
    """Have a mark at every second file, and begin to use them at the third."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(media_marks, "SPACING", 2)
        patch.setattr(media_pages, "NEAR", 3)
        yield


def folded(*batches: Sequence[Record]) -> apsw.Connection:
    connection = empty()
    create_tables(connection, [MediaFold()])
    for batch in batches:
        store(connection, batch)
        MediaFold().apply(connection, batch)
        check_marks(connection)
    return connection


def check_marks(connection: apsw.Connection) -> None:
    """Count anew what every mark of every list has counted."""
    files = list(
        connection.execute(
            "select number, type, root, parent, uploader, number, created, uploaded, size,"
            " duration, pixels from media where type is not null and root is not null"
        )
    )
    marked = "select 1 where ((?1 & 2147483647) * 2654435769 & 4294967295) >> 22 & 1 = 0"
    marks = {row[0] for row in files if list(connection.execute(marked, (row[0],)))}
    expected = set()
    for kind, order in itertools.product(KINDS.values(), ORDERS):
        arms: dict[Arm, list[tuple[int, int]]] = {}
        for number, type_, root, parent, uploader, *keys in files:
            if uploader or not kind.by_uploader:
                by_parent = parent if kind.by_parent else 0
                arm = Arm(type_, root, by_parent, uploader if kind.by_uploader else 0)
                arms.setdefault(arm, []).append((keys[order], number))
        for arm, places in arms.items():
            places.sort()
            at = [nth for nth, (_, number) in enumerate(places) if number in marks]
            for begin, end in itertools.pairwise([*at, len(places)]):
                key, number = places[begin]
                expected.add((kind.list_of(order), number, *arm, key, end - begin))
    assert set(connection.execute("select * from media_marks")) == expected


@given(mixed_histories(longest=40), st.lists(st.integers(0, 40), max_size=5))
def test_marks_count_what_is_there(records: list[Record], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    folded(*(records[a:b] for a, b in itertools.pairwise(edges)))


ROOTS, CATALOGS, FIRST, USERS = (1, 2), (3, 4, 5, 6), 7, 3


@st.composite
def lives(draw: st.DrawFn) -> list[list[Record]]:
    """A library that grows, and changes in all ways, in batches."""
    states = [root_state(b"one"), root_state(b"two", b"/srv/two", ino=3)]
    states += [directory_state(b"d%d" % n, parent=1 + n // 2, ino=10 + n) for n in range(4)]
    records = [Record(n, n, 0, Created("", state)) for n, state in enumerate(states, 1)]
    count = draw(st.integers(0, 60))
    for number in range(FIRST, FIRST + count):
        state = _file(draw, number)
        records.append(Record(number, number, 0, Created("", state)))
    for _ in range(draw(st.integers(0, 30))):
        position = len(records) + 1
        file = draw(st.integers(FIRST, FIRST + max(0, count - 1)))
        records.append(_change(draw, position, file))
    edges = sorted({0, *draw(st.lists(st.integers(1, len(records)), max_size=6)), len(records)})
    return [records[a:b] for a, b in itertools.pairwise(edges)]


def _file(draw: st.DrawFn, number: int) -> State:
    parent, ending = draw(st.sampled_from(CATALOGS)), draw(st.sampled_from(ENDINGS))
    name = b"%d.%b" % (number, ending)
    return file_state(name, parent, ino=100 + number, size=draw(st.integers(0, 5)))


def _change(draw: st.DrawFn, position: int, file: int) -> Record:
    state = _file(draw, file)
    directory = draw(st.sampled_from(CATALOGS))
    moved = directory_state(b"d", parent=draw(st.sampled_from(ROOTS)), ino=10 + directory)
    note = Note(
        file,
        parent=draw(st.sampled_from((0, *CATALOGS))),
        uploader=draw(st.integers(0, USERS - 1)),
        uploaded_us=draw(st.integers(0, 3)),
        type=draw(st.sampled_from((None, *ALL))),
    )
    # An entity has one number from its first event on; one for each file is far above all others.
    return draw(
        st.sampled_from(
            [
                Record(position, file, 0, Modified("", state)),
                Record(position, file, 0, Moved("", state, 3, b"old")),
                Record(position, file, 0, Removed("", "deleted", 3, b"old", 0o100644)),
                Record(position, directory, 0, Moved("", moved, 1, b"d")),
                Record(position, 10_000 + file, 0, NoteChanged("", note)),
            ]
        )
    )


@given(
    lives(),
    st.builds(
        Wanted,
        roots=st.sampled_from([(), (1,), (2, 1)]),
        catalogs=st.none() | st.lists(st.sampled_from(CATALOGS), unique=True).map(tuple),
        types=st.lists(st.sampled_from(ALL), unique=True).map(tuple),
        uploader=st.integers(0, USERS - 1),
        sort=st.integers(-5, 5),
    ),
    st.integers(1, 12),
)
def test_every_page_is_the_one_that_counting_gives(
    batches: list[list[Record]], wanted: Wanted, limit: int
) -> None:
    connection = folded(*batches)
    files = counted(connection, wanted)
    listing = Listing(connection, wanted)
    assert listing.count == len(files)
    for offset in range(len(files) + 2):
        assert listing.page(offset, limit) == files[offset : offset + limit]


def counted(connection: apsw.Connection, wanted: Wanted) -> list[int]:
    key = ORDERS[abs(wanted.sort)]
    found = connection.execute(
        f"select {key}, number, root, parent, type, uploader from media where type is not null"  # noqa: S608
    )
    places = [
        (k, number)
        for k, number, root, parent, kind, uploader in found
        if root in wanted.roots
        and (wanted.catalogs is None or parent in wanted.catalogs)
        and kind in wanted.types
        and (not wanted.uploader or uploader == wanted.uploader)
    ]
    return [number for _, number in sorted(places, reverse=wanted.sort < 0)]
