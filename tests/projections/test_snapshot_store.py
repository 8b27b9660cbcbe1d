"""The directory of snapshots: the newest usable one is found, and only what may go goes."""

import threading
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from eventlog.errors import LogUnavailableError
from eventlog.events import Created, Record
from projections.snapshot_store import DAY_US, Line, Listed, Retention, SnapshotStore, line
from tests.eventlog.helpers import file_state
from tests.projections.memory import store
from tests.projections.snapshots import NOW_US, PREFIX, log_of, snapshot_of


def append(connection: apsw.Connection) -> None:
    head = line(connection).head
    store(connection, [Record(head + 1, head + 1, head, Created("", file_state(b"%d" % head)))])


@pytest.fixture
def connection() -> apsw.Connection:
    connection = log_of([])
    append(connection)
    return connection


@pytest.fixture
def kept(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "deep" / "snapshots")


def take(kept: SnapshotStore, connection: apsw.Connection, days: int = 0) -> Listed:
    """Append something and take a snapshot so many days after `NOW_US`."""
    append(connection)
    return kept.take(connection, NOW_US + days * DAY_US)[0]


def positions(kept: SnapshotStore) -> list[int]:
    return [listed.header.position if listed.header else -1 for listed in kept.files()]


def test_there_are_none_where_there_is_no_directory(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    assert kept.files() == []
    assert kept.newest(line(connection)) is None
    assert kept.open(line(connection)) is None


def test_a_snapshot_is_private_and_named_by_time_and_position(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    listed, new = kept.take(connection, NOW_US)
    assert new
    assert listed.path.name == "20260304T120000Z-01234567-1.snapshot"
    assert [p.name for p in kept.directory.iterdir()] == [listed.path.name]
    assert listed.path.stat().st_mode & 0o777 == 0o600
    assert kept.directory.stat().st_mode & 0o777 == 0o700
    assert kept.files() == [listed]


def test_nothing_is_written_while_nothing_was_appended(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    first, _ = kept.take(connection, NOW_US)
    assert kept.take(connection, NOW_US + DAY_US) == (first, False)
    append(connection)
    assert kept.take(connection, NOW_US + DAY_US)[1]
    assert positions(kept) == [2, 1]


def test_the_newest_up_to_a_position_is_found(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    found = [take(kept, connection, days) for days in range(3)]
    log = line(connection)
    assert kept.newest(log) == found[2]
    assert kept.newest(log, 3) == found[1]
    assert kept.newest(log, 1) is None
    file = kept.open(log, 3)
    assert file is not None
    assert file.header == found[1].header
    file.close()


def test_a_damaged_one_is_told_and_passed_over(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    older, newer = take(kept, connection), take(kept, connection, 1)
    newer.path.write_bytes(newer.path.read_bytes()[:-1])
    assert kept.newest(line(connection)) == older
    bad = kept.files()[-1]
    assert (bad.path, bad.header) == (newer.path, None)
    assert "cut off" in bad.problem
    assert kept.take(connection, NOW_US + DAY_US)[1]


def test_one_of_another_log_or_of_a_lost_future_is_passed_over(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    found = [take(kept, connection, days) for days in range(3)]
    log = line(connection)
    assert kept.newest(log._replace(id_prefix="x")) is None
    assert kept.newest(log._replace(head=3)) == found[1]
    connection.execute("insert into meta values ('gaps', '2-3,3-9')")
    assert kept.newest(line(connection)) == found[1]


def test_too_many_and_too_old_ones_go_but_never_the_newest(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    for days in range(6):
        take(kept, connection, days)
    log, now = line(connection), NOW_US + 6 * DAY_US
    assert len(kept.prune(log, Retention(keep=5, keep_days=100), now)) == 1
    assert positions(kept) == [7, 6, 5, 4, 2]
    assert len(kept.prune(log, Retention(keep=5, keep_days=3), now)) == 2
    assert positions(kept) == [7, 6, 5]
    assert len(kept.prune(log, Retention(keep=2, keep_days=3), now)) == 1
    assert positions(kept) == [7, 5]
    kept.prune(log, Retention(keep=1, keep_days=0.1), now + 100 * DAY_US)
    assert positions(kept) == [7]


def test_the_older_they_are_the_further_apart_they_lie(
    kept: SnapshotStore, connection: apsw.Connection
) -> None:
    """A few of them reach back as far as they may, and yesterday's is always there."""
    ages: list[int] = []
    for days in range(60):
        take(kept, connection, days)
        now = NOW_US + days * DAY_US
        kept.prune(line(connection), Retention(keep=7, keep_days=30), now)
        ages = [positions(kept)[0] - position for position in positions(kept)]
        assert ages[:3] == [0, 1, 2][: days + 1]
        assert len(ages) == min(days + 1, 7)
        if days > 30:
            assert ages[-1] >= 15
    gaps = [older - newer for newer, older in pairwise(ages)]
    assert max(gaps[:3]) <= min(gaps[-2:])


def test_pruning_leaves_others_alone(kept: SnapshotStore, connection: apsw.Connection) -> None:
    take(kept, connection)
    bad = kept.directory / "a.snapshot"
    bad.write_bytes(b"")
    other = log_of([])
    other.execute("update meta set value = '11111111-89ab-8def-8123-' where key = 'id_prefix'")
    append(other)
    kept.take(other, NOW_US)
    assert kept.prune(line(connection), Retention(1, 0), NOW_US + 100 * DAY_US) == []
    assert len(kept.files()) == 3


def test_only_one_is_written_at_a_time(kept: SnapshotStore, connection: apsw.Connection) -> None:
    problems: list[LogUnavailableError] = []

    class Meanwhile(threading.Event):
        def is_set(self) -> bool:
            with pytest.raises(LogUnavailableError) as error:
                kept.take(log_of([]), NOW_US)
            problems.append(error.value)
            return False

    assert kept.take(connection, NOW_US, Meanwhile())[1]
    assert "another nasfeed is writing this" in str(problems[0])
    assert positions(kept) == [1]


def test_one_from_after_a_squash_that_a_restore_undid_does_not_fit(tmp_path: Path) -> None:
    connection = log_of([])
    connection.execute("update meta set value = '5' where key = 'floor'")
    with snapshot_of(connection, tmp_path / "a") as file:
        fits = Line(PREFIX, 9, 5, ())
        assert fits.has(file.header)
        assert not fits._replace(floor=0).has(file.header)
