"""The feed's pages against the model: what a client at a cursor has not seen, merged."""

from pathlib import Path

import apsw
from hypothesis import given
from hypothesis import strategies as st

from eventlog import codec
from eventlog.connection import open_reader
from eventlog.events import Created, Record, Removed
from eventlog.log import Log
from projections.changes import read_page
from projections.replay import FOLDS
from tests.eventlog.helpers import created, file_state, files, root_state
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
    assert read_page(empty(), 0, 10) == (0, False, [], 0)


def test_the_last_page_ends_at_the_head_though_its_last_change_is_older() -> None:
    records = [
        Record(1, 1, 0, Created("", root_state())),
        Record(2, 2, 0, Created("", file_state())),
        Record(3, 2, 0, Removed("", "deleted", 1, b"file", 0o100644)),
    ]
    page = read_page(holding(records), 0, 10)
    assert (page.cursor, page.has_more, [row[0] for row in page.rows]) == (3, False, [1])


def test_a_page_is_of_one_moment_though_the_writer_goes_on(tmp_path: Path) -> None:
    """What is appended between the two queries of a page must be in the next one."""
    path = str(tmp_path / "log.db")
    log = Log(path, FOLDS)
    log.append([created(root_state())])
    reader = open_reader(path)

    def append_before_the_head_is_read(_cursor: object, query: str, _bindings: object) -> bool:
        if "sqlite_sequence" in query:
            log.append(files(1))
        return True

    reader.exec_trace = append_before_the_head_is_read
    assert read_page(reader, 0, 10)[:2] == (1, False)
    reader.exec_trace = None
    assert log.head == 2
    assert [node for _, node, _ in read_page(reader, 1, 10).rows] == [2]
    reader.close()
    log.close()


def test_a_page_leaves_no_read_transaction_open(tmp_path: Path) -> None:
    path = str(tmp_path / "log.db")
    log = Log(path, FOLDS)
    log.append(files(5))
    reader = open_reader(path)
    read_page(reader, 0, 2)
    assert reader.txn_state() == apsw.SQLITE_TXN_NONE
    reader.close()
    log.close()
