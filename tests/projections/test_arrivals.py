"""New nodes in columns are stored as if they had been appended one by one."""

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from eventlog import codec
from eventlog.arrivals import Arrivals
from eventlog.connection import fetch
from eventlog.events import DISK, Content, Created, State
from eventlog.fold import Fold
from eventlog.log import Draft, Log
from projections.fold_tree import signed
from projections.replay import FOLDS, LIBRARY_FOLDS, table_rows

STATES = [
    State(0, b"root", stat.S_IFDIR | 0o755, 0, 1, 2, 3, 4, 5, 6, 0, b"/root"),
    State(1, b"file", stat.S_IFREG | 0o644, 2**40, -5, 10**18, 3, 2**64 - 1, 0, 0, 2, b"", 1),
    State(1, b"\xff", stat.S_IFLNK | 0o777, 3, 0, 0, 2**63 - 1, 9, 0, 0, 1, b"to\xff", 0),
    State(300_000, b"deep.jpg", stat.S_IFREG, 0, 0, 0, 3, 11, 2**32 - 1, 0, 1, b"", 1),
]


def arrivals(states: Sequence[State]) -> Arrivals:
    rests = [
        codec.stored_rest((0, *(getattr(s, n) for n in State.__struct_fields__[1:])))
        for s in states
    ]
    return Arrivals(
        parents=[s.parent for s in states],
        names=[s.name for s in states],
        filesystems=[s.fs for s in states],
        inodes=[signed(s.ino) for s in states],
        contents=[1 if s.content == Content.PENDING else None for s in states],
        records=[codec.created(s.parent, [r])[0] for s, r in zip(states, rests, strict=True)],
    )


def test_records_are_those_that_the_events_have() -> None:
    assert arrivals(STATES).records == [codec.encode(Created(DISK, s)) for s in STATES]


@pytest.mark.parametrize("folds", [FOLDS, LIBRARY_FOLDS], ids=["alone", "library"])
def test_every_projection_is_the_same(tmp_path: Path, folds: tuple[Fold, ...]) -> None:
    one, other = Log(str(tmp_path / "one.db"), folds), Log(str(tmp_path / "other.db"), folds)
    try:
        one.append([Draft(0, Created(DISK, state)) for state in STATES])
        assert other.call(lambda tx: tx.append_new(arrivals(STATES))) == 1
        assert other.head == one.head == len(STATES)
        both = [log.call(lambda tx: table_rows(tx.connection, folds)) for log in (one, other)]
        assert both[0] == both[1]
        query = "select position, node, record from events"
        events = [log.call(lambda tx: fetch(tx.connection, query)) for log in (one, other)]
        assert events[0] == events[1]
    finally:
        one.close()
        other.close()
