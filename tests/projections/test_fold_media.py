"""The library's view of the tree: a function of what is so last, whatever way it came to be."""

import itertools
from collections.abc import Sequence

import apsw
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import Created, Modified, Moved, Record, Removed
from eventlog.library import Ended, Facts, FactsFound, Kind, LibraryEvent, Note, NoteChanged
from eventlog.schema import create_tables
from projections.fold_media import MediaFold
from projections.library_types import FileType
from projections.replay import FOLDS
from tests.eventlog.helpers import directory_state, file_state, root_state
from tests.model import Model
from tests.projections.memory import empty, store
from tests.strategies import mixed_histories


def folded(*batches: Sequence[Record]) -> apsw.Connection:
    connection = empty()
    create_tables(connection, [MediaFold()])
    for batch in batches:
        store(connection, batch)
        MediaFold().apply(connection, batch)
    return connection


def rows(connection: apsw.Connection) -> list[tuple[object, ...]]:
    assert connection.execute("select count(*) from media_moves").get == 0
    marks = list(connection.execute("select * from media_marks order by list, number"))
    return [*marks, *connection.execute("select * from media order by number")]


def column(connection: apsw.Connection, name: str) -> dict[int, object]:
    return dict(connection.execute(f"select number, {name} from media where place is not null"))  # noqa: S608


@given(mixed_histories(longest=40), st.lists(st.integers(0, 40), max_size=5))
def test_any_split_into_batches_gives_the_same(records: list[Record], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    batches = [records[a:b] for a, b in itertools.pairwise(edges)]
    assert rows(folded(*batches)) == rows(folded(records))


@given(mixed_histories(longest=40))
def test_a_compaction_changes_nothing(records: list[Record]) -> None:
    last = {record.node: record for record in records}
    kept = sorted(last.values(), key=lambda record: record.position)
    one_by_one = [[record] for record in records]
    assert rows(folded(*([record] for record in kept))) == rows(folded(*one_by_one))


@given(mixed_histories(longest=40))
def test_roots_and_parents_are_what_the_model_says(records: list[Record]) -> None:
    model = Model.of(records)
    shown = {n for n, s in model.states.items() if s.is_file or s.is_directory}
    connection = folded(*([record] for record in records))
    chains = {number: model.chain(number) for number in shown}
    assert column(connection, "root") == {n: chain and chain[0] for n, chain in chains.items()}
    catalogs = {n for n in shown if model.states[n].is_directory}
    notes = notes_of(records)
    expected = {}
    for number in shown:
        wanted = notes[number].parent if number in notes else 0
        expected[number] = wanted if wanted in catalogs else model.states[number].parent
    assert column(connection, "parent") == expected


def notes_of(records: list[Record]) -> dict[int, Note]:
    live: dict[int, Note] = {}
    for record in records:
        if isinstance(record.event, NoteChanged):
            live[record.node] = record.event.state
        elif isinstance(record.event, Ended):
            live.pop(record.node, None)
    return {note.node: note for note in live.values()}


ROOT, FOLDER, FILE = 1, 2, 3
BASE = [
    Record(ROOT, ROOT, 0, Created("", root_state())),
    Record(FOLDER, FOLDER, 0, Created("", directory_state(b"d", parent=ROOT))),
    Record(FILE, FILE, 0, Created("", file_state(b"a.jpg", parent=FOLDER, size=7))),
]


def after(*events: tuple[int, object]) -> list[Record]:
    more = [Record(p, node or p, 0, event) for p, (node, event) in enumerate(events, 4)]  # type: ignore[arg-type]
    return [*BASE, *more]


def one(connection: apsw.Connection, what: str) -> object:
    return connection.execute(f"select {what} from media where number = ?", (FILE,)).get  # noqa: S608


def test_what_people_say_wins_over_the_file_and_that_over_the_disk() -> None:
    facts = FactsFound("", Facts(FILE, b"", captured_us=5, width=30, height=40))
    note: LibraryEvent = NoteChanged("", Note(FILE, created_us=9, type=16))
    assert one(folded(BASE), "created") == 0
    assert one(folded(BASE), "type") == FileType.IMAGE
    found = folded(after((0, facts)))
    assert (one(found, "created"), one(found, "pixels")) == (5, (30 << 32) + 40)
    east = msgspec.structs.replace(facts.state, captured_us=7_200_000_005, offset_minutes=120)
    assert one(folded(after((0, FactsFound("", east)))), "created") == 5
    found = folded(after((0, facts), (0, note)))
    assert (one(found, "created"), one(found, "type")) == (9, 16)
    found = folded(after((0, facts), (0, note), (5, Ended("", Kind.NOTE, ""))))
    assert (one(found, "created"), one(found, "type")) == (5, 1)


def test_bytes_that_look_like_a_picture_without_a_magic_number_are_a_file() -> None:
    state = msgspec.structs.replace(file_state(b"a.bin", parent=FOLDER), mime="image/x-tga")
    assert one(folded(after((FILE, Modified("", state)))), "type") == FileType.FILE


def test_a_catalog_that_goes_gives_back_what_was_shown_in_it() -> None:
    other = Created("", directory_state(b"e", parent=ROOT, ino=9))
    note: LibraryEvent = NoteChanged("", Note(FILE, parent=4))
    assert one(folded(after((0, other), (0, note))), "parent") == 4
    gone = Removed("", "deleted", ROOT, b"e", 0o40755)
    assert one(folded(after((0, other), (0, note), (4, gone))), "parent") == FOLDER


def test_a_catalog_that_goes_to_another_root_takes_all_below_along() -> None:
    root = Created("", root_state(b"other", b"/srv/other", ino=77))
    state = directory_state(b"d", parent=4)
    moved = folded(after((0, root), (FOLDER, Moved("", state, ROOT, b"d"))))
    assert one(moved, "root") == 4
    # And when the move is all that a compaction has left of the catalog.
    kept = [BASE[0], BASE[2], *after((0, root), (FOLDER, Modified("", state)))[3:]]
    assert one(folded(kept), "root") == 4


def test_the_tables_of_a_log_without_a_library_are_two() -> None:
    assert [table for fold in FOLDS for table in fold.tables] == ["nodes", "library_entities"]
