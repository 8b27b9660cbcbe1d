"""What is found about contents is appended only to the file that was read."""

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from eventlog.clock import SystemClock
from eventlog.events import DISK, Content, Created, Modified, Reason, Removed, State
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from projections.tree import Node, Tree
from tests.serving import DEADLINE_SECONDS, wait_until
from watcher.backend import Place
from watcher.describer import Describer, Roots, When, describe
from watcher.metadata.pool import ProbePool
from watcher.metadata.task import Outcome, Status
from watcher.observation import Facts, new_state

HASH = b"h" * 16


def file_state() -> State:
    facts = Facts(stat.S_IFREG | 0o644, 3, 100, 100, 7, 5, 0, 0, 1)
    return new_state(Place(1, b"f"), facts)


class Bench:
    """A log with a root and one pending file."""

    def __init__(self, log: Log) -> None:
        root = Facts(stat.S_IFDIR | 0o755, 0, 10, 10, 7, 1, 0, 0, 0)
        self._log = log
        log.append([Draft(0, Created(DISK, new_state(Place(0, b"r"), root, b"/srv")))])
        self.file = log.append([Draft(0, Created(DISK, file_state()))])

    def append(self, event: Modified | Removed) -> None:
        self._log.append([Draft(self.file, event)])

    def describe(self, *outcomes: Outcome) -> list[tuple[bytes, str]]:
        return self._log.call(lambda tx: describe(tx, outcomes))

    def node(self) -> Node | None:
        return self._log.call(lambda tx: Tree(tx.connection).node(self.file))

    def state(self) -> State:
        node = self.node()
        assert node is not None
        return node.state

    def outcome(self, status: Status = Status.DONE, **changed: object) -> Outcome:
        """Return what a worker says of the file as it was first recorded."""
        state = file_state()
        fields: dict[str, object] = {
            "number": self.file,
            "status": status,
            "ino": state.ino,
            "size": state.size,
            "mtime_ns": state.mtime_ns,
            "ctime_ns": state.ctime_ns,
            "hash": HASH,
            "mime": "text/plain",
        }
        return Outcome(**(fields | changed))  # type: ignore[arg-type]  # mixed kinds of values


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    yield Bench(log)
    log.close()


def test_a_description_makes_the_state_whole(bench: Bench) -> None:
    found = bench.outcome(mime="video/mp4", width=640, height=480, duration_ms=1500)
    assert bench.describe(found) == []
    state = bench.state()
    assert (state.content, state.hash, state.mime) == (Content.DONE, HASH, "video/mp4")
    assert (state.width, state.height, state.duration_ms) == (640, 480, 1500)


@pytest.mark.parametrize("field", ["ino", "size", "mtime_ns", "ctime_ns"])
def test_what_was_read_from_another_version_is_thrown_away(bench: Bench, field: str) -> None:
    bench.append(Modified(DISK, msgspec.structs.replace(file_state(), **{field: 777})))
    bench.describe(bench.outcome())
    assert (bench.state().content, bench.state().hash) == (Content.PENDING, b"")


def test_a_file_that_changed_while_it_was_read_stays_pending(bench: Bench) -> None:
    bench.describe(bench.outcome(Status.CHANGED))
    assert bench.state().content == Content.PENDING


def test_a_file_that_is_gone_is_left_gone(bench: Bench) -> None:
    bench.append(Removed(DISK, "deleted", 1, b"f", stat.S_IFREG))
    bench.describe(bench.outcome())
    assert bench.node() is None


def test_what_could_not_be_read_is_marked_and_told(bench: Bench) -> None:
    problems = bench.describe(bench.outcome(Status.FAILED, hash=b"", problem="it is broken"))
    assert problems == [(b"/srv/f", "it is broken")]
    assert bench.state().content == Content.FAILED


def test_without_a_hash_the_file_counts_as_skipped(bench: Bench) -> None:
    bench.describe(bench.outcome(hash=b""))
    assert (bench.state().content, bench.state().mime) == (Content.SKIPPED, "text/plain")


def test_a_second_description_of_the_same_version_says_nothing(bench: Bench) -> None:
    bench.describe(bench.outcome())
    before = bench.node()
    bench.describe(bench.outcome())
    assert bench.node() == before


def test_what_fails_again_in_the_same_way_is_no_news(bench: Bench) -> None:
    failed = bench.outcome(Status.FAILED, hash=b"", problem="it is broken")
    bench.describe(failed)
    before = bench.node()
    bench.describe(failed)
    assert bench.node() == before
    bench.describe(bench.outcome())
    assert bench.state().content == Content.DONE


class Watched:
    """A describer of one real file, of which the log says something else."""

    def __init__(self, log: Log, top: Path) -> None:
        file = top / "f"
        file.write_bytes(b"something longer")
        found = top.stat()
        root = Facts(stat.S_IFDIR | 0o755, 0, 10, 10, 7, found.st_ino, 0, 0, 0)
        log.append([Draft(0, Created(DISK, new_state(Place(0, b"r"), root, bytes(top))))])
        self.file = log.append([Draft(0, Created(DISK, file_state()))])
        self.log = log
        self.suspected = threading.Semaphore(0)
        self.places: list[tuple[int, Place]] = []
        clock = SystemClock()
        self.describer = Describer(
            log,
            lambda: ProbePool(1, clock=clock),
            When(lambda _: False, lambda: 0, lambda: False),
            Roots(self._suspect, lambda _: True),
            clock,
        )

    def _suspect(self, root: int, place: Place) -> None:
        self.places.append((root, place))
        self.suspected.release()
        if len(self.places) == 1:
            raise ZeroDivisionError("a fault of its own")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    (tmp_path / "r").mkdir()
    watched = Watched(log, tmp_path / "r")
    watched.describer.start()
    yield watched
    watched.describer.stop()
    watched.describer.join()
    log.close()


def test_a_fault_of_its_own_does_not_end_it(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    assert watched.suspected.acquire(timeout=DEADLINE_SECONDS)
    wait_until(lambda: "nasfeed itself" in watched.describer.status.problem, "it says so")
    assert watched.suspected.acquire(timeout=DEADLINE_SECONDS)
    assert watched.places[0] == watched.places[1] == (1, Place(1, b"f"))
    wait_until(lambda: not watched.describer.status.problem, "all is well again")
    assert "please report this" in caplog.text


def test_a_file_that_was_removed_while_it_was_read_is_suspected_by_nobody(watched: Watched) -> None:
    for _ in range(2):
        assert watched.suspected.acquire(timeout=DEADLINE_SECONDS)
    watched.log.append([Draft(watched.file, Removed(DISK, Reason.DELETED, 1, b"f", 0o100644))])
    wait_until(lambda: watched.describer.idle, "nothing is left")
    assert watched.describer.status.problem == ""
