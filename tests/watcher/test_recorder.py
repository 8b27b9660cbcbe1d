"""What recording does inside its transaction, whatever was recorded since the look."""

import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from eventlog.connection import open_reader
from eventlog.events import DISK, Reason
from eventlog.log import Log, Transaction
from projections.replay import FOLDS
from projections.tree import Node, Tree
from watcher import recorder as module
from watcher.backend import Place
from watcher.observation import Facts, Observation
from watcher.reconcile import Gone
from watcher.recorder import Recorder

FS = 7


def facts(ino: int, *, directory: bool = False, nlink: int = 1, fs: int = FS) -> Facts:
    kind = stat.S_IFDIR if directory else stat.S_IFREG
    return Facts(kind | 0o644, 0, 10, 10, fs, ino, 0, 0, 0 if directory else nlink)


class Bench:
    """A log, a recorder and a root."""

    def __init__(self, log: Log) -> None:
        self.recorder = Recorder(log)
        self.root = self.recorder.attach(b"root", b"/srv", facts(1, directory=True), DISK)
        self._log = log

    def see(self, parent: int, name: bytes, what: Facts | None) -> int:
        """Record one look; returns the number of the node that there is now, or 0."""
        self.recorder.record([Observation(Place(parent, name), what)], DISK)
        return self.number(parent, name)

    def number(self, parent: int, name: bytes) -> int:
        found = self._log.call(lambda tx: Tree(tx.connection).child(parent, name))
        return found.number if found else 0

    def gone(self, number: int) -> Gone:
        node = self._log.call(lambda tx: Tree(tx.connection).node(number))
        assert node is not None
        return Gone(node, Reason.DELETED, overtaken=False)

    def remove(self, number: int) -> int:
        return len(self.recorder.remove(self.gone(number), DISK))

    def orphans(self) -> int:
        connection = open_reader(self._log.path)
        tree = Tree(connection)
        orphans = tree.count() - tree.count_below(self.root)
        connection.close()
        return orphans


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    yield Bench(log)
    log.close()


def test_a_look_into_a_directory_that_was_removed_meanwhile_counts_for_nothing(
    bench: Bench,
) -> None:
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    bench.remove(directory)
    recorded = bench.recorder.record([Observation(Place(directory, b"f"), facts(3))], DISK)
    assert (recorded.events, recorded.numbers, bench.orphans()) == (0, {}, 0)


def test_a_node_is_not_moved_into_a_directory_that_was_removed_meanwhile(bench: Bench) -> None:
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    file = bench.see(bench.root, b"f", facts(3))
    bench.remove(directory)
    recorded = bench.recorder.record(
        [
            Observation(Place(directory, b"f"), facts(3), birth_ns=0),
            Observation(Place(bench.root, b"f"), None),
        ],
        DISK,
    )
    assert [gone.node.number for gone in recorded.gone] == [file]
    assert bench.orphans() == 0


def test_removing_a_directory_removes_all_below_it_in_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BURIED_AT_ONCE", 3)
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    for number in range(10):
        bench.see(directory, b"%d" % number, facts(10 + number))
    assert bench.remove(directory) == 11
    assert bench.orphans() == 0


def test_what_comes_below_a_directory_while_it_is_removed_goes_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another root's observer may record between two pieces."""
    monkeypatch.setattr(module, "BURIED_AT_ONCE", 3)
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    for number in range(6):
        bench.see(directory, b"%d" % number, facts(10 + number))
    bury_below, late = module._bury_below, [Observation(Place(directory, b"late"), facts(99))]

    def disturbed(
        transaction: Transaction, gone: Gone, numbers: Collection[int], author: str
    ) -> list[Node]:
        buried = bury_below(transaction, gone, numbers, author)
        if late:
            module._record(transaction, [late.pop()], DISK, accept=False)
        return buried

    monkeypatch.setattr(module, "_bury_below", disturbed)
    assert bench.remove(directory) == 8
    assert bench.orphans() == 0


def test_many_are_removed_by_one_transaction(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    inside = [bench.see(directory, b"%d" % number, facts(10 + number)) for number in range(3)]
    beside = [bench.see(bench.root, b"%d" % number, facts(20 + number)) for number in range(3)]
    moved = bench.see(bench.root, b"moved", facts(30))
    gone = [bench.gone(number) for number in (inside[0], directory, *inside, *beside, moved)]
    away = Observation(Place(bench.root, b"elsewhere"), facts(30), birth_ns=0)
    bench.recorder.record([away, Observation(Place(bench.root, b"moved"), None)], DISK)
    together, calls = module._bury_together, list[int]()

    def counted(
        transaction: Transaction, gone: Sequence[Gone], author: str
    ) -> tuple[list[Node], int]:
        calls.append(len(gone))
        return together(transaction, gone, author)

    monkeypatch.setattr(module, "_bury_together", counted)
    buried = bench.recorder.remove_many(gone, DISK)
    numbers = [node.number for node in buried]
    assert sorted(numbers) == sorted([directory, *inside, *beside])
    assert numbers.index(directory) > max(map(numbers.index, inside))
    assert calls == [len(gone)]
    assert bench.orphans() == 0


def test_many_with_a_large_directory_among_them_are_removed_in_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BURIED_AT_ONCE", 3)
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    for number in range(5):
        bench.see(directory, b"%d" % number, facts(10 + number))
    files = [bench.see(bench.root, b"%d" % number, facts(20 + number)) for number in range(5)]
    gone = [bench.gone(number) for number in (*files[:2], directory, *files[2:])]
    assert len(bench.recorder.remove_many(gone, DISK)) == 11
    assert bench.recorder.remove_many(gone, DISK) == []
    assert bench.recorder.remove_many([], DISK) == []
    assert bench.orphans() == 0


def test_a_node_that_was_moved_since_is_not_removed(bench: Bench) -> None:
    file = bench.see(bench.root, b"f", facts(3))
    gone = bench.gone(file)
    bench.recorder.record(
        [
            Observation(Place(bench.root, b"g"), facts(3), birth_ns=0),
            Observation(Place(bench.root, b"f"), None),
        ],
        DISK,
    )
    assert bench.recorder.remove(gone, DISK) == []
    assert bench.number(bench.root, b"g") == file


def test_what_was_moved_out_of_a_replaced_directory_is_not_removed_with_it(bench: Bench) -> None:
    directory = bench.see(bench.root, b"d", facts(2, directory=True))
    file = bench.see(directory, b"f", facts(3))
    recorded = bench.recorder.record(
        [
            Observation(Place(bench.root, b"d"), facts(4)),
            Observation(Place(bench.root, b"f"), facts(3), birth_ns=0),
            Observation(Place(directory, b"f"), None),
        ],
        DISK,
    )
    assert [node.number for node in recorded.buried] == [directory]
    assert recorded.left == [Place(directory, b"f")]
    assert bench.number(bench.root, b"f") == file


def test_what_lies_below_an_unmounted_filesystem_is_left_alone(bench: Bench) -> None:
    point = bench.see(bench.root, b"m", facts(2, directory=True, fs=8))
    file = bench.see(point, b"f", facts(3, fs=8))
    recorded = bench.recorder.record(
        [Observation(Place(bench.root, b"m"), facts(5, directory=True))], DISK
    )
    assert recorded.unmounted == {point}
    assert recorded.events == 0
    assert bench.number(point, b"f") == file


def test_attaching_a_root_again_changes_nothing_unless_it_has_moved(bench: Bench) -> None:
    again = bench.recorder.attach(b"root", b"/srv", facts(1, directory=True), DISK)
    assert again == bench.root
    assert bench.see(bench.root, b"a", facts(3)) == bench.root + 1
    bench.recorder.attach(b"root", b"/mnt", facts(1, directory=True), DISK)
    assert bench.gone(bench.root).node.state.target == b"/mnt"
    assert bench.gone(bench.root).node.position == bench.root + 2
