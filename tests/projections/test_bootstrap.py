"""A new client that takes the tree in pages, then the changes, misses nothing, whatever happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import codec
from eventlog.events import SUPER_ROOT, Created, Event, Moved, Record, Removed
from projections import bootstrap
from projections.bootstrap import Bootstrap, Row
from projections.changes import read_page
from tests import strategies
from tests.eventlog.helpers import directory_state
from tests.model import Model
from tests.projections.memory import store
from tests.projections.snapshots import log_of, merge

PERCENT = st.integers(20, 90)
"""How much of a history was before the walk began: so that something is left for after that."""


class Client:
    """Folds rows; a node is its last event."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}

    def fold(self, rows: list[Row]) -> None:
        for position, number, raw in rows:
            event = codec.decode(raw, position)
            if isinstance(event, Removed):
                self.events.pop(number, None)
            else:
                self.events[number] = event


def expected(records: list[Record]) -> dict[int, Event]:
    model = Model.of(records)
    return {number: model.last[number][1] for number in model.states}


def walk_all(records: list[Record]) -> list[Row]:
    connection, rows = log_of(records), []
    walk = Bootstrap(len(records))
    while not walk.is_done:
        rows += walk.page(connection)
    return rows


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PAGE_ROWS", 3)


@given(strategies.histories())
def test_it_is_the_tree_and_each_node_comes_once(records: list[Record]) -> None:
    rows = walk_all(records)
    client = Client()
    client.fold(rows)
    assert client.events == expected(records)
    assert len(rows) == len(client.events)


@given(strategies.histories(longest=50))
def test_parents_come_first_but_in_circles(records: list[Record]) -> None:
    model, seen = Model.of(records), {SUPER_ROOT}
    for _, number, _ in walk_all(records):
        parent = model.states[number].parent
        if model.chain(number) is not None:  # it hangs from a root
            assert parent in seen
        seen.add(number)


@given(
    strategies.histories(longest=60),
    PERCENT,
    st.lists(st.integers(0, 12), max_size=8),
    st.booleans(),
)
def test_whatever_happens_between_the_pages_the_changes_after_it_bring(
    records: list[Record],
    percent: int,
    steps: list[int],
    compacts: bool,  # noqa: FBT001 - drawn
) -> None:
    """Each step appends some events between two pages; a compaction merges all it may and more."""
    begun = len(records) * percent // 100
    connection, client = log_of(records[:begun]), Client()
    walk, done = Bootstrap(begun), begun
    for step in [*steps, 0]:
        if not walk.is_done:
            client.fold(walk.page(connection))
        store(connection, records[done : done + step])
        done = min(len(records), done + step)
        if compacts:
            merge(connection, done)
    while not walk.is_done:
        client.fold(walk.page(connection))
    if not compacts:
        assert client.events == expected(records[:begun])
    cursor, more = begun, True
    while more:
        page = read_page(connection, cursor, 4)
        client.fold(page.rows)
        cursor, more = page.cursor, page.has_more
    assert client.events == expected(records[:done])
    assert cursor == done


@given(strategies.histories(longest=60), PERCENT, st.integers(0, 4))
def test_what_happens_meanwhile_is_not_in_it_and_disturbs_no_order(
    records: list[Record], percent: int, pages: int
) -> None:
    begun = len(records) * percent // 100
    calm = walk_all(records[:begun])
    connection = log_of(records[:begun])
    walk, rows = Bootstrap(begun), []
    while not walk.is_done:
        if not pages:
            store(connection, records[begun:])
        pages -= 1
        rows += walk.page(connection)
    assert rows == calm


def test_all_that_is_remembered_is_used_up() -> None:
    """Each directory is moved into one that is younger: the first brings all of them forward."""
    count = 50
    records = [Record(n, n, n, Created("", directory_state(b"%d" % n, 0))) for n in range(1, count)]
    records += [
        Record(count + n, n, n, Moved("", directory_state(b"%d" % n, n + 1), 0, b"%d" % n))
        for n in range(1, count - 1)
    ]
    walk, connection = Bootstrap(2 * count), log_of(records)
    rows = walk.page(connection)
    assert [number for _, number, _ in rows] == list(range(count - 1, 0, -1))
    assert len(walk._early) == count - 4
    while not walk.is_done:
        assert walk.page(connection) == []
    assert walk._early == set()
