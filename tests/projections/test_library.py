"""What the media library knows survives all that is done to a log: nothing is about files only."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader
from eventlog.events import Created, Modified
from eventlog.library import (
    Ended,
    Entity,
    Kind,
    LibraryEvent,
    NoteChanged,
    UserChanged,
)
from eventlog.log import Draft, Log
from eventlog.pace import Pace
from projections import snapshot
from projections.backup import back_up
from projections.changes import read_page
from projections.from_snapshot import filling
from projections.library import Library
from projections.replay import FOLDS, compare, rebuild, table_rows
from projections.restore import examine, restore
from projections.snapshot_file import SnapshotFile
from projections.squash import squash
from tests.eventlog.golden_cases import GOLDEN, NOTE
from tests.eventlog.helpers import FakeClock, assert_sound, file_state, root_state

EVENTS = [event for event in GOLDEN.values() if isinstance(event, LibraryEvent)]
STATED = [event for event in EVENTS if not isinstance(event, Ended)]


def fill(log: Log, clock: FakeClock) -> None:
    """Have every kind of entity: live, changed, and gone."""
    root = log.append([Draft(0, Created("", root_state()))])
    file = log.append([Draft(0, Created("", file_state(b"a", parent=root)))])
    for event in STATED:
        clock.us += 10
        number = log.append([Draft(0, event)])
        log.append([Draft(number, event), Draft(file, Modified("", file_state(b"a", parent=root)))])
        gone = log.append([Draft(0, event)])
        log.append([Draft(gone, Ended("", _kind(event), "for the test"))])


def _kind(event: LibraryEvent) -> Kind:
    return Kind[
        {"FactsFound": "FACTS", "TrashChanged": "TRASHED"}.get(
            type(event).__name__, type(event).__name__.removesuffix("Changed").upper()
        )
    ]


def known(path: Path) -> dict[int, Entity]:
    with contextlib.closing(open_reader(str(path))) as reader:
        return dict(Library(reader).everything())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path, clock: FakeClock) -> Iterator[Log]:
    log = Log(str(path), FOLDS, clock=clock)
    fill(log, clock)
    yield log
    log.close()
    assert_sound(path)


def test_every_kind_is_known(log: Log, path: Path) -> None:
    assert log.head
    states = list(known(path).values())
    assert sorted(map(repr, states)) == sorted(repr(event.state) for event in STATED)


def test_it_is_found_by_what_it_is_asked_for(log: Log, path: Path) -> None:
    assert log.head
    with contextlib.closing(open_reader(str(path))) as reader:
        library = Library(reader)
        found = library.user_named("tERRY")
        assert found is not None
        number, user = found
        assert user.name == "Terry"
        assert library.user(number) == user
        assert library.user(number + 1) is None
        noted = library.note(NOTE.node)
        assert noted is not None
        assert noted[1] == NOTE
        assert library.notes([NOTE.node, 10**6]) == {NOTE.node: NOTE}
        facts = {found.node: found for found in library.facts_of(range(100)).values()}
        assert facts == {node: library.facts(node)[1] for node in facts}  # type: ignore[index]  # they are there
        assert facts
        session = library.session(bytes(range(32)))
        assert session is not None
        assert library.sessions(session[1].user) == [session]
        assert library.session(b"") is None
        [(upload, state)] = library.uploaded(NOTE.node)
        assert library.upload_keyed(state.key) == (upload, state)
        assert library.uploads(state.user) == library.unfinished() == []  # it is a file


def test_a_replay_gives_the_same(log: Log, path: Path) -> None:
    log.close()
    before = known(path)

    connection = apsw.Connection(str(path))
    rows = table_rows(connection)
    rebuild(connection)
    assert table_rows(connection) == rows
    connection.close()
    assert known(path) == before


def test_a_compaction_keeps_it(log: Log, path: Path, clock: FakeClock) -> None:
    before = known(path)
    clock.us += 1_000_000
    done = Compactor(log, Options(0), clock).run(threading.Event())
    assert done.dropped >= len(STATED) * 3
    assert known(path) == before


def test_a_squash_keeps_it_and_drops_what_has_ended(log: Log, path: Path, clock: FakeClock) -> None:
    before = known(path)
    clock.us += 1_000_000
    compactor = Compactor(log, Options(0), clock)
    result = squash(log, compactor, Pace(log, clock, threading.Event(), 0))
    assert result.complete
    assert known(path) == before
    with contextlib.closing(open_reader(str(path))) as reader:
        assert len(table_rows(reader)["library_entities"]) == len(before)


def test_a_rebuild_from_a_snapshot_gives_the_same(log: Log, path: Path, tmp_path: Path) -> None:
    with contextlib.closing(open_reader(str(path))) as reader:
        snapshot.write(reader, tmp_path / "snapshot", 0)
    user = next(event for event in STATED if isinstance(event, UserChanged))
    number = log.append([Draft(0, user)])
    gone = next(iter(known(path)))
    log.append([Draft(gone, Ended("", Kind.USER, "after it"))])
    before = known(path)
    assert number in before
    assert gone not in before
    with SnapshotFile(tmp_path / "snapshot") as file:
        file.verify()
        with contextlib.closing(open_reader(str(path))) as reader:
            assert compare(reader, fill=filling(file)).differences == []


@pytest.mark.parametrize("kind", ["snapshot", "backup"])
def test_a_restore_brings_it_back(
    log: Log, path: Path, tmp_path: Path, clock: FakeClock, kind: str
) -> None:
    before = known(path)
    copy = tmp_path / kind
    if kind == "snapshot":
        with contextlib.closing(open_reader(str(path))) as reader:
            snapshot.write(reader, copy, 0)
    else:
        back_up(str(path), copy)
    log.append([Draft(0, NoteChanged("", NOTE))])
    log.close()
    restore(examine(copy), str(path), clock.us)
    assert known(path) == before
    assert_sound(path)
    again = Log(str(path), FOLDS, clock=clock)
    clock.us += 1_000_000
    compactor = Compactor(again, Options(0), clock)
    assert squash(again, compactor, Pace(again, clock, threading.Event(), 0)).complete
    again.close()
    assert known(path) == before


def test_no_client_of_the_feed_is_told_of_it(log: Log, path: Path) -> None:

    with contextlib.closing(open_reader(str(path))) as reader:
        page = read_page(reader, 0, 1_000)
    assert [row[1] for row in page.rows] == [1, 2]
    assert page.cursor == log.head
