"""When snapshots are taken: on the schedule, before a compaction, not while nothing happens."""

import threading
from pathlib import Path

import pytest

from eventlog.errors import LogError, LogFullError
from eventlog.log import Log
from projections.replay import FOLDS
from projections.snapshot_store import SnapshotStore
from tests.eventlog.helpers import FakeClock, files
from tools.config import server_files
from tools.document import SnapshotsSection
from tools.snapshots import FRESH_SECONDS, Snapshots

HOUR_US = 3_600_000_000
GOING = threading.Event()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "log.db")
    append(path)
    return path


def append(database: str) -> None:
    log = Log(database, FOLDS)
    log.append(files(1))
    log.close()


def count(snapshots: Snapshots) -> int:
    return len(snapshots.store.files())


def test_one_is_taken_when_the_newest_is_as_old_as_the_interval(
    database: str, clock: FakeClock
) -> None:
    snapshots = Snapshots(database, SnapshotsSection(interval_hours=24), clock)
    counts = []
    for hours in (0, 1, 22, 1, 1, 24):
        clock.us += hours * HOUR_US
        append(database)
        snapshots.take_due(GOING)
        counts.append(count(snapshots))
    assert counts == [1, 1, 1, 2, 2, 3]


def test_the_newest_is_known_without_looking_again(database: str, clock: FakeClock) -> None:
    snapshots = Snapshots(database, SnapshotsSection(), clock)
    taken, _ = snapshots.take()
    assert snapshots.newest == taken
    again = Snapshots(database, SnapshotsSection(interval_hours=0), clock)
    again.take_due(GOING)
    assert again.newest == taken
    started = Snapshots(database, SnapshotsSection(), clock)
    started.prepare()
    assert started.newest == taken


def test_a_clock_that_was_set_back_does_not_stop_them(database: str, clock: FakeClock) -> None:
    snapshots = Snapshots(database, SnapshotsSection(), clock)
    snapshots.take_due(GOING)
    clock.us -= 1_000 * HOUR_US
    append(database)
    snapshots.take_due(GOING)
    assert count(snapshots) == 2


def test_an_interval_of_zero_means_never(database: str, clock: FakeClock) -> None:
    snapshots = Snapshots(database, SnapshotsSection(interval_hours=0), clock)
    snapshots.take_due(GOING)
    assert count(snapshots) == 0
    snapshots.before_compaction(1)
    assert count(snapshots) == 1


def test_a_compaction_has_a_fresh_one(database: str, clock: FakeClock) -> None:
    snapshots = Snapshots(database, SnapshotsSection(), clock)
    counts = []
    for seconds in (0, FRESH_SECONDS - 1, 1):
        clock.us += int(seconds * 1_000_000)
        append(database)
        snapshots.before_compaction(1)
        counts.append(count(snapshots))
    assert counts == [1, 1, 2]


def failing(monkeypatch: pytest.MonkeyPatch, error: LogError) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(SnapshotStore, "take", fail)


def test_a_full_disk_does_not_stop_what_makes_space(
    database: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = Snapshots(database, SnapshotsSection(), clock)
    failing(monkeypatch, LogFullError("full"))
    snapshots.before_compaction(1)
    with pytest.raises(LogFullError):
        snapshots.take_due(GOING)
    failing(monkeypatch, LogError("broken"))
    with pytest.raises(LogError, match="broken"):
        snapshots.before_compaction(1)


def test_a_server_that_stops_takes_none(database: str, clock: FakeClock) -> None:
    snapshots = Snapshots(database, SnapshotsSection(), clock)
    snapshots.stop()
    with pytest.raises(LogError, match="stopped"):
        snapshots.take()
    stopped = threading.Event()
    stopped.set()
    snapshots.take_due(stopped)
    assert count(snapshots) == 0


def test_their_directory_is_never_in_the_feed(tmp_path: Path) -> None:
    assert f"{tmp_path}/log.db.snapshots" in server_files(f"{tmp_path}/log.db", None)
    elsewhere = SnapshotsSection(directory=f"{tmp_path}/kept")
    assert f"{tmp_path}/kept" in server_files(f"{tmp_path}/log.db", None, elsewhere)
