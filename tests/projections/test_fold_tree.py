"""The tree fold: a function of the last event of each node, however the log was cut in batches."""

from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import Record
from projections.fold_tree import TreeFold
from projections.replay import compare, rebuild, table_rows
from tests.model import OUTSTANDING, Model
from tests.projections.memory import empty, holding, store
from tests.strategies import mixed_histories


@st.composite
def split_histories(draw: st.DrawFn) -> list[list[Record]]:
    """A history in batches."""
    records = draw(mixed_histories())
    cuts = sorted(draw(st.sets(st.integers(0, len(records)), max_size=6)))
    return [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]


@given(split_histories())
def test_any_split_into_batches_gives_the_same_tables(batches: list[list[Record]]) -> None:
    split, whole = empty(), empty()
    for batch in batches:
        store(split, batch)
    store(whole, [record for batch in batches for record in batch])
    assert table_rows(split) == table_rows(whole)


@given(mixed_histories())
def test_the_table_is_what_the_model_says(records: list[Record]) -> None:
    model = Model.of(records)
    expected: list[tuple[object, ...]] = []
    for node in sorted(model.last):
        position, state = model.last[node][0], model.states.get(node)
        if state is None:
            expected.append((node, position, None, None, None, None, None))
        else:
            content = state.content if state.content in OUTSTANDING else None
            ino = int.from_bytes(state.ino.to_bytes(8), signed=True)
            place = (state.parent, state.name, state.fs, ino)
            expected.append((node, position, *place, content))
    assert table_rows(holding(records))["nodes"] == expected


@given(mixed_histories())
def test_events_that_a_later_one_replaced_can_be_dropped(records: list[Record]) -> None:
    """What compaction does must not change any table."""
    last = {record.node: record for record in records}
    kept = sorted(last.values(), key=lambda record: record.position)
    assert table_rows(holding(kept)) == table_rows(holding(records))


@given(mixed_histories(), st.integers(0, 30))
def test_old_events_can_be_dropped_alone(records: list[Record], window: int) -> None:
    last = {record.node: record.position for record in records}
    kept = [r for r in records if r.position > window or last[r.node] == r.position]
    assert table_rows(holding(kept)) == table_rows(holding(records))


@given(mixed_histories())
def test_a_rebuild_gives_the_same_tables(records: list[Record]) -> None:
    connection = holding(records)
    before = table_rows(connection)
    assert compare(connection).differences == []
    assert rebuild(connection) == len(records)
    assert table_rows(connection) == before


def test_the_fold_knows_its_tables() -> None:
    made = empty().execute("select name from sqlite_schema where type = 'table'").fetchall()
    assert {(table,) for table in TreeFold.tables} <= set(made)
