"""The feed's pages against the model: what a client at a cursor has not seen, merged."""

from hypothesis import given
from hypothesis import strategies as st

from eventlog import codec
from eventlog.events import Created, Record, Removed
from projections.changes import read_page
from tests.eventlog.helpers import file_state, root_state
from tests.model import Model
from tests.projections.memory import empty, holding
from tests.strategies import histories

CURSORS = st.integers(0, 40)
LIMITS = st.integers(1, 10)


@given(histories(), CURSORS, LIMITS)
def test_a_page_is_what_the_model_says(records: list[Record], cursor: int, limit: int) -> None:
    expected = list(Model.of(records).changes(cursor))
    page = read_page(holding(records), cursor, limit)
    rows = [(position, node, codec.decode(raw, position)) for position, node, raw in page.rows]
    assert rows == expected[:limit]
    assert page.has_more == (len(expected) > limit)
    assert page.cursor == (rows[-1][0] if page.has_more else len(records))


@given(histories(), CURSORS)
def test_no_tombstone_is_sent_to_who_never_saw_the_node(records: list[Record], cursor: int) -> None:
    page = read_page(holding(records), cursor, 1_000)
    for position, node, raw in page.rows:
        if isinstance(codec.decode(raw, position), Removed):
            assert 0 < node <= cursor


@given(histories(), LIMITS)
def test_a_drain_sends_each_node_at_most_once(records: list[Record], limit: int) -> None:
    connection = holding(records)
    cursor, more, nodes = 0, True, list[int]()
    while more:
        page = read_page(connection, cursor, limit)
        assert page.cursor > cursor or not page.rows
        nodes += [node for _, node, _ in page.rows]
        cursor, more = page.cursor, page.has_more
    assert len(nodes) == len(set(nodes))
    assert cursor == len(records)


def test_an_empty_log_has_an_empty_page() -> None:
    assert read_page(empty(), 0, 10) == (0, False, [])


def test_the_last_page_ends_at_the_head_though_its_last_change_is_older() -> None:
    records = [
        Record(1, 1, 0, Created("", root_state())),
        Record(2, 2, 0, Created("", file_state())),
        Record(3, 2, 0, Removed("", "deleted", 1, b"file", 0o100644)),
    ]
    page = read_page(holding(records), 0, 10)
    assert (page.cursor, page.has_more, [row[0] for row in page.rows]) == (3, False, [1])
