"""Where nodes were at every event of a history, compared with the model."""

from hypothesis import given
from hypothesis import strategies as st

from eventlog import history
from eventlog.events import Record, Removed
from eventlog.library import LibraryEvent
from eventlog.whole import moved_directories
from projections.paths_then import PathsThen
from tests.model import Model
from tests.projections.snapshots import log_of
from tests.strategies import histories, wandering_histories


def where(records: list[Record], record: Record) -> bytes | None:
    """Return where an event left its node, or a removal found it; None when under no root."""
    upto = record.position - isinstance(record.event, Removed)
    return Model.of(records[:upto]).path(record.node)


@given(st.one_of(histories(), wandering_histories()), st.data())
def test_every_event_is_told_where_it_was(records: list[Record], data: st.DataObject) -> None:
    """Whatever position is begun from: what is before it need not be read."""
    after = data.draw(st.integers(0, len(records)))
    connection = log_of(records)
    paths = PathsThen(connection, {}, moved_directories(connection, None, after))
    for record in history.read(connection, after, len(records)):
        paths.advance(record.position)
        if isinstance(record.event, LibraryEvent):
            continue
        wanted = where(records, record)
        if wanted is not None:
            assert (paths.of(record.event).rstrip(b"/") or b"/") == wanted
