"""What was is what the model recorded when it was."""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader
from eventlog.events import (
    SUPER_ROOT,
    Created,
    Event,
    Modified,
    Moved,
    Reason,
    Record,
    Removed,
)
from eventlog.log import Draft, Log
from projections.overlay import KEPT_MAX, Overlays, Stored
from projections.past import Past, UncoveredError, Why, reading
from projections.past_tree import FIRST, PastTree
from projections.replay import FOLDS
from projections.snapshot_store import SnapshotStore
from tests.eventlog.helpers import FakeClock, directory_state, file_state, root_state
from tests.model import Model
from tests.projections.memory import store
from tests.projections.snapshots import PREFIX, log_of, snapshot_of
from tests.strategies import histories

LIMITS = st.integers(1, 5)
MEMORY = Path("/dev/shm")  # noqa: S108 - a mount point; the folder in it is the test's own


def models(records: Sequence[Record]) -> list[Model]:
    """Return the model as of each position from 0 on."""
    return [Model.of(records[:position]) for position in range(len(records) + 1)]


def merge(connection: apsw.Connection, merged: int) -> None:
    """Leave only the last event of each node up to a position, as compaction does."""
    connection.execute(
        "delete from events where position <= ?1 and exists (select 1 from events l"
        " where l.node = events.node and l.position > events.position and l.position <= ?1)",
        (merged,),
    )
    connection.execute("insert or replace into meta values ('merged', ?)", (str(merged),))


@contextmanager
def past_of(connection: apsw.Connection, overlays: Overlays | None = None) -> Iterator[Past]:
    with reading(connection, overlays or Overlays()) as past:
        yield past


def paged(tree: PastTree, parent: int, limit: int) -> list[Stored]:
    found: list[Stored] = []
    after = FIRST
    while page := tree.children(parent, after, limit):
        assert len(page) <= limit
        found += page
        after = page[-1].key
    return found


def assert_equal(tree: PastTree, model: Model, numbers: int, limit: int) -> None:
    """Compare everything that can be asked of a tree with the model."""
    for number in range(1, numbers + 2):
        found = tree.last(number)
        assert (found and (found.position, found.event)) == model.last.get(number)
        if found is not None and number in model.states:
            assert tree.path(found) == model.path(number)
    for parent in range(numbers + 1):
        expected = sorted((model.states[n].name, n) for n in model.children(parent))
        children = paged(tree, parent, limit)
        assert [child.key for child in children] == expected
        assert [(c.position, c.event) for c in children] == [model.last[n] for _, n in expected]
        for name in {name for name, _ in expected} | {b"none"}:
            child, there = tree.child(parent, name), model.at(parent, name)
            assert child.node == there[0] if child else there == []


@given(histories(), LIMITS)
def test_every_position_is_as_it_was(records: list[Record], limit: int) -> None:
    then = models(records)
    with past_of(log_of(records)) as past:
        for position, model in enumerate(then):
            assert_equal(past.at(position), model, len(records), limit)


@given(histories(), LIMITS, st.data())
def test_every_position_from_the_merged_on_is_as_it_was(
    records: list[Record], limit: int, data: st.DataObject
) -> None:
    merged = data.draw(st.integers(0, len(records)))
    connection = log_of(records)
    merge(connection, merged)
    then = models(records)
    with past_of(connection) as past:
        for position in range(merged, len(records) + 1):
            assert_equal(past.at(position), then[position], len(records), limit)
        for position in range(1, merged):
            with pytest.raises(UncoveredError):
                past.at(position)


@given(histories(longest=20), st.integers(0, 25))
def test_a_real_compaction_leaves_every_position_from_the_merged_on_as_it_was(
    records: list[Record], days: int
) -> None:
    """One event a day; a compaction keeps some days."""
    clock, day_us = FakeClock(), 86_400_000_000
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        log = Log(f"{folder}/log.db", FOLDS, clock=clock)
        try:
            for record in records:
                log.append(
                    [Draft(0 if record.node == record.position else record.node, record.event)]
                )
                clock.us += day_us
            Compactor(log, Options(days * day_us), clock).run(threading.Event())
            with contextlib.closing(open_reader(log.path)) as reader, past_of(reader) as past:
                assert past.coverage.earliest == max(0, len(records) - days)
                for position in range(past.coverage.earliest, len(records) + 1):
                    model = Model.of(records[:position])
                    assert_equal(past.at(position), model, len(records), 3)
        finally:
            log.close()


@given(histories(), st.lists(st.integers(0, 30), max_size=6), st.data())
def test_a_position_stays_as_it_was_while_the_log_grows(
    records: list[Record], asked: list[int], data: st.DataObject
) -> None:
    """The same overlays are asked again and again, as a server does, between appends and merges."""
    then, connection, overlays = models(records), log_of([]), Overlays()
    head = merged = 0
    while True:
        with past_of(connection, overlays) as past:
            for position in (p for p in asked if merged <= p <= head):
                assert_equal(past.at(position), then[position], len(records), 3)
        if head == len(records):
            break
        grown = data.draw(st.integers(head + 1, len(records)))
        store(connection, records[head:grown])
        head = grown
        merged = data.draw(st.integers(merged, head) | st.just(merged))
        merge(connection, merged)


def is_alone(model: Model, number: int) -> bool:
    """Whether no other node has the path of a node or of one above it, as in an exchange."""
    chain = model.chain(number) or []
    tops = [model.states[n].target.rstrip(b"/") for n in model.children(SUPER_ROOT)]
    places = [(model.states[n].parent, model.states[n].name) for n in chain[1:]]
    return len(set(tops)) == len(tops) and all(len(model.at(*place)) == 1 for place in places)


@given(histories())
def test_a_path_resolves_to_a_node_with_that_path(records: list[Record]) -> None:
    with past_of(log_of(records)) as past:
        for position, model in enumerate(models(records)):
            tree = past.at(position)
            tops = [model.states[n].target.rstrip(b"/") for n in model.children(SUPER_ROOT)]
            for number in model.states:
                path = model.path(number)
                if path and is_alone(model, number) and b"" not in tops:
                    found = tree.resolve(path)
                    assert found is not None
                    assert tree.path(found) == path


@given(histories())
def test_all_events_of_a_node_are_its_history(records: list[Record]) -> None:
    with past_of(log_of(records)) as past:
        for number in range(1, len(records) + 1):
            expected = [r for r in records if r.node == number]
            found: list[Stored] = []
            while page := past.events(number, found[-1].position if found else 0, 2):
                found += page
            assert [(s.position, s.time_us, s.event) for s in found] == [
                (r.position, r.time_us, r.event) for r in expected
            ]


@given(histories(), st.integers(0, 40))
def test_before_a_time_the_last_position_before_it_is_shown(
    records: list[Record], time: int
) -> None:
    """Positions are the times there."""
    with past_of(log_of(records)) as past:
        assert past.before(time).position == min(max(time - 1, 0), len(records))


DIRECTORY = 0o040755
HISTORY: list[Event] = [
    Created("", root_state(target=b"/mnt/r")),  # 1
    Created("", directory_state(b"d")),  # 2
    Created("", file_state(b"f", parent=2)),  # 3
    Moved("", directory_state(b"e"), 1, b"d"),  # 4: node 2
    Removed("", Reason.DELETED, 2, b"f", 0o100644),  # 5: node 3
    Removed("", Reason.DELETED, 1, b"e", DIRECTORY),  # 6: node 2
    Removed("", Reason.ROOT_REMOVED, 0, b"root", DIRECTORY, b"/mnt/r"),  # 7: node 1
]
NODES = (1, 2, 3, 2, 3, 2, 1)
RECORDS = [
    Record(position, node, position, event)
    for position, (node, event) in enumerate(zip(NODES, HISTORY, strict=True), 1)
]


SILENT = Removed("", Reason.ROOT_REMOVED, 0, b"root", DIRECTORY)


@pytest.mark.parametrize("merged", range(8))
@pytest.mark.parametrize("silent", [False, True])
def test_a_tombstone_says_where_the_node_was(
    merged: int,
    silent: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    connection = log_of([*RECORDS[:-1], Record(7, 1, 7, SILENT)] if silent else RECORDS)
    merge(connection, merged)
    # Of a root whose tombstone does not say, only the name is left once the rest is merged.
    top = b"root" if silent and merged == 7 else b"/mnt/r"
    with past_of(connection) as past:
        tree = past.now()
        for number, path in ((1, top), (2, top + b"/e"), (3, top + b"/e/f")):
            stored = tree.last(number)
            assert stored is not None
            assert tree.path(stored) == path


def test_a_node_was_where_its_directories_were_then() -> None:
    with past_of(log_of(RECORDS)) as past:
        paths = []
        for position in range(3, 6):
            tree = past.at(position)
            stored = tree.last(3)
            assert stored is not None
            paths.append(tree.path(stored))
    assert paths == [b"/mnt/r/d/f", b"/mnt/r/e/f", b"/mnt/r/e/f"]


def test_what_was_dropped_and_what_is_to_come_is_refused_with_what_can_be_asked() -> None:
    connection = log_of(RECORDS)
    merge(connection, 4)
    with past_of(connection) as past:
        for position, why in ((3, Why.FORGOTTEN), (1, Why.FORGOTTEN), (8, Why.AHEAD)):
            with pytest.raises(UncoveredError) as caught:
                past.at(position)
            assert caught.value.coverage == (4, 4, 7)
            assert caught.value.why is why
        with pytest.raises(UncoveredError):
            past.before(4)
        assert past.before(5).position == 4
        assert past.before(10**18).position == 7


def test_a_floor_is_a_limit_too() -> None:
    connection = log_of(RECORDS)
    connection.execute("insert or replace into meta values ('floor', '6'), ('merged', '2')")
    with past_of(connection) as past:
        assert past.coverage.earliest == 6


def test_overlays_are_few() -> None:
    connection, overlays = log_of(RECORDS), Overlays()
    with past_of(connection, overlays) as past:
        for position in (1, 2, 3, 4, 5, 6, 1):
            past.at(position).children(SUPER_ROOT, FIRST, 9)
    assert len(overlays._kept) == KEPT_MAX


def test_directories_in_a_circle_have_no_path() -> None:
    circle = [
        Record(1, 1, 1, Created("", root_state())),
        Record(2, 2, 2, Created("", directory_state(b"a"))),
        Record(3, 3, 3, Created("", directory_state(b"b", 2))),
        Record(4, 2, 4, Moved("", directory_state(b"a", 3), 1, b"a")),
        Record(5, 1, 5, Modified("", root_state())),
    ]
    with past_of(log_of(circle)) as past:
        for position in (4, 5):
            tree = past.at(position)
            stored = tree.last(3)
            assert stored is not None
            assert tree.path(stored) is None


def test_what_leaves_after_a_question_takes_its_place_in_the_answer() -> None:
    names = [b"a", b"b", b"c", b"d"]
    made = [Record(1, 1, 1, Created("", root_state()))]
    made += [Record(n, n, n, Created("", file_state(name))) for n, name in enumerate(names, 2)]
    connection, overlays = log_of(made), Overlays()
    for position, number in enumerate((5, 3, 4, 2), 6):
        gone = Removed("", Reason.DELETED, 1, names[number - 2], 0o100644)
        store(connection, [Record(position, number, position, gone)])
        with past_of(connection, overlays) as past:
            assert [child.key[0] for child in paged(past.at(5), 1, 3)] == names


@contextmanager
def snapshots_of(records: Sequence[Record], taken: Iterable[int]) -> Iterator[SnapshotStore]:
    """Keep a snapshot of each of some positions."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        kept = SnapshotStore(Path(folder))
        for position in taken:
            path = kept.directory / f"{position}.snapshot"
            snapshot_of(log_of(records[:position]), path).close()
        yield kept


def at_or_refused(
    past: Past, position: int, covered: Sequence[int]
) -> tuple[PastTree | None, int | None]:
    """Return the tree as of a position, and the position that should be shown, if any."""
    expected = max((p for p in covered if p <= position), default=None)
    if expected is not None:
        return past.at(position), expected
    with pytest.raises(UncoveredError) as caught:
        past.at(position)
    assert caught.value.coverage.earliest == min(covered)
    return None, None


@given(histories(), LIMITS, st.data())
def test_below_the_merged_the_snapshot_before_is_shown(
    records: list[Record], limit: int, data: st.DataObject
) -> None:
    merged = data.draw(st.integers(0, len(records)))
    taken = data.draw(st.sets(st.integers(1, max(1, merged)), max_size=3))
    taken = {position for position in taken if position <= merged}
    connection, then = log_of(records), models(records)
    merge(connection, merged)
    with (
        snapshots_of(records, taken) as kept,
        reading(connection, Overlays(), kept) as past,
    ):
        for position in range(1, merged):
            tree, shown = at_or_refused(past, position, [*taken, merged])
            if tree is not None and shown is not None:
                assert (tree.position, tree.exact) == (shown, shown == position)
                assert_equal(tree, then[shown], len(records), limit)
            time = past.time_us(position) + 1  # of what is left: positions are times there
            if taken and min(taken) < time <= merged:
                assert past.before(time).position == max(p for p in taken if p < time)


def test_a_tombstone_that_was_squashed_is_found_in_the_snapshot() -> None:
    connection = log_of(RECORDS)
    connection.execute("delete from events where position <= 6; delete from nodes where number > 1")
    connection.execute("insert or replace into meta values ('floor', '6'), ('merged', '6')")
    with (
        snapshots_of(RECORDS, [5]) as kept,
        reading(connection, Overlays(), kept) as past,
    ):
        tree = past.at(5)
        stored = tree.last(3)
        assert stored is not None
        assert isinstance(stored.event, Removed)
        assert tree.path(stored) == b"/mnt/r/e/f"
        assert tree.last(4) is None
        assert [child.key[0] for child in tree.children(1, FIRST, 9)] == [b"e"]


def test_snapshots_of_other_logs_and_what_is_none_are_passed_over() -> None:
    connection = log_of(RECORDS)
    merge(connection, 6)
    connection.execute("update meta set value = ? where key = 'id_prefix'", (PREFIX[:-2] + "4-",))
    with snapshots_of(RECORDS, [2, 4]) as kept, reading(connection, Overlays(), kept) as past:
        (kept.directory / "9.snapshot").write_text("nothing")
        with pytest.raises(UncoveredError) as caught:
            past.at(5)
        assert caught.value.coverage.earliest == 6


def test_a_position_that_a_restore_lost_is_refused() -> None:
    connection = log_of(RECORDS)
    connection.execute("insert into meta values ('gaps', '7-1000')")
    connection.execute("update sqlite_sequence set seq = 1000 where name = 'events'")
    with past_of(connection) as past:
        for position in (8, 999):
            with pytest.raises(UncoveredError) as caught:
                past.at(position)
            assert caught.value.why is Why.LOST
        assert past.now().position == past.at(1000).position == 1000
        assert past.at(7).position == 7
        assert past.before(10**18).position == 7


def test_exact_history_may_begin_where_there_is_no_event() -> None:
    """As in a log that was restored from a snapshot of a restored log."""
    connection = log_of(RECORDS[:6])
    merge(connection, 6)
    connection.execute("update meta set value = '1000' where key = 'merged'")
    connection.execute("update sqlite_sequence set seq = 1000 where name = 'events'")
    with past_of(connection) as past:
        for time in (7, 10**18):
            assert past.before(time).position == 1000
        with pytest.raises(UncoveredError):
            past.before(6)
    connection.execute("update meta set value = '6' where key = 'floor'")
    with past_of(connection) as past, pytest.raises(UncoveredError):
        past.before(7)
