"""What an observer says of its root, and what it does when it is asked."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.clock import SystemClock
from eventlog.events import SUPER_ROOT
from eventlog.log import Log
from projections.replay import FOLDS
from projections.tree import Tree
from tests.serving import wait_until
from tests.watcher.fake_backend import FakeBackend
from watcher.backend import Hints, Place
from watcher.choose import Choice
from watcher.excludes import Excludes
from watcher.observer import Observer, detach_missing
from watcher.root import Root
from watcher.session import Settings
from watcher.settle import Settling
from watcher.vanished import Vanished


class Bench:
    """An observer of one root with a backend that tells nothing by itself."""

    def __init__(self, path: Path, log: Log) -> None:
        self.path = path
        self.backends: list[FakeBackend] = []
        self.changes = threading.Semaphore(0)
        settings = Settings(
            excluded=Excludes(),
            private={},
            rescan_seconds=3600.0,
            limited_rescan_seconds=3600.0,
            polling_seconds=3600.0,
            directories_max=256,
            removal_percent=50.0,
            is_quiet=lambda: False,
            vanished=Vanished(SystemClock()),
            choose=self._choose,
            elsewhere=lambda _place: None,
            others_walk=lambda: False,
        )
        self.observer = Observer(
            Root("root", bytes(path)),
            log,
            settings,
            Settling(),
            SystemClock(),
            self.changes.release,
        )
        self.log = log

    def _choose(self, _fd: int) -> Choice:
        self.backends.append(FakeBackend())
        return Choice(self.backends[-1], "the test says so")

    def wait(self, state: str, scans: int = 0) -> None:
        wait_until(
            lambda: self.observer.status.state == state and self.observer.status.scans >= scans,
            f"{state} after {scans} scans",
        )

    def names(self) -> set[bytes]:
        def read(tree: Tree) -> set[bytes]:
            return {n.state.name for root in tree.children(0) for n in tree.children(root.number)}

        return self.log.call(lambda tx: read(Tree(tx.connection)))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    bench = Bench(tmp_path / "root", log)
    yield bench
    bench.observer.stop()
    bench.observer.join()
    log.close()


def test_a_root_is_scanned_at_the_start_and_when_asked(bench: Bench) -> None:
    bench.path.mkdir()
    (bench.path / "a").touch()
    bench.observer.start()
    bench.wait("online", scans=1)
    assert bench.names() == {b"a"}
    (bench.path / "b").touch()
    bench.observer.rescan()
    bench.wait("online", scans=2)
    assert bench.names() == {b"a", b"b"}
    status = bench.observer.status
    assert (status.repairs, status.entries, status.scanned) == (1, 2, True)


def test_lost_hints_are_counted_and_answered_by_a_scan(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    (bench.path / "a").touch()
    bench.backends[-1].overflow()
    bench.wait("online", scans=2)
    assert (bench.observer.status.overflows, bench.names()) == (1, {b"a"})


def test_a_suspected_place_is_looked_at(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    (bench.path / "a").touch()
    bench.observer.suspect(Place(bench.observer.status.number, b"a"))
    wait_until(lambda: bench.names() == {b"a"}, "it is looked at")
    assert bench.observer.status.scans == 1


def test_a_missing_root_is_offline_with_a_reason_and_nothing_is_recorded(bench: Bench) -> None:
    bench.observer.start()
    bench.wait("offline")
    assert "No such file" in bench.observer.status.reason
    assert bench.log.head == 0
    bench.path.mkdir()
    bench.wait("online", scans=1)
    assert bench.observer.status.reason == ""


def test_whoever_must_know_is_told_of_each_scan(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    assert bench.changes.acquire(timeout=60)
    bench.observer.rescan()
    assert bench.changes.acquire(timeout=60)


def test_the_backend_is_closed_at_the_end(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    bench.observer.stop()
    bench.observer.join()
    assert [backend.closed for backend in bench.backends] == [True]


def test_roots_that_are_no_longer_configured_are_removed_with_all_below(bench: Bench) -> None:
    bench.path.mkdir()
    (bench.path / "a").touch()
    bench.observer.start()
    bench.wait("online", scans=1)
    bench.observer.stop()
    bench.observer.join()
    assert detach_missing(bench.log, [bench.observer.root]) == []
    assert detach_missing(bench.log, [Root("other", b"/other")]) == ["root"]
    assert bench.log.call(lambda tx: Tree(tx.connection).children(SUPER_ROOT)) == []


def test_an_error_of_our_own_does_not_end_the_watching(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and then the root is followed again from the beginning."""
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    backend = bench.backends[-1]

    def fail(_seconds: float) -> Hints:
        raise ZeroDivisionError

    monkeypatch.setattr(backend, "read", fail)
    backend.wake()
    wait_until(lambda: len(bench.backends) > 1, "another backend")
    bench.wait("online", scans=2)
    (bench.path / "file").touch()
    bench.observer.rescan()
    bench.wait("online", scans=3)
    assert bench.names() == {b"file"}
    assert "an error of nasfeed itself: ZeroDivisionError()" in caplog.text


def test_a_full_disk_is_told_once_however_often_it_is_tried(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    bench.log.reserved = True
    (bench.path / "file").touch()
    bench.observer.rescan()
    wait_until(lambda: len(bench.backends) == 3, "it was tried twice in vain")
    bench.wait("offline")
    bench.log.reserved = False
    bench.wait("online", scans=2)
    assert bench.names() == {b"file"}
    told = [record.message.split(":")[0] for record in caplog.records]
    assert told.count("root root is offline") == 1
    scanning = [r for r in caplog.records if ": scanning " in r.message]
    assert len(scanning) == 1
    assert "scanned 1 entries" in caplog.records[-1].message


def is_open(directory: Path) -> bool:
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if link.readlink() == directory:
                return True
    return False


def test_nothing_is_kept_open_after_what_was_done_at_once(bench: Bench) -> None:
    """What keeps a directory open keeps its disk from being unmounted."""
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    for names in ({b"a"}, {b"a", b"b"}):
        wait_until(lambda: not is_open(bench.path), "the directory is closed")
        [new] = names - bench.names()
        (bench.path / os.fsdecode(new)).mkdir()
        bench.observer.suspect(Place(bench.observer.status.number, new))
        wait_until(lambda: new in bench.names(), "it is looked at")  # noqa: B023 - called at once
    wait_until(lambda: not is_open(bench.path), "the directory is closed")
