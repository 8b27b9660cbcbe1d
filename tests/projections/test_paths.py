from pathlib import Path

from eventlog.connection import open_reader
from eventlog.events import DISK, SUPER_ROOT, Created, Moved, State
from eventlog.log import Draft, Log
from projections.paths import Paths
from projections.replay import FOLDS
from projections.tree import Tree


def state(parent: int, name: bytes, target: bytes = b"") -> State:
    return State(parent, name, 0o40755, 0, 0, 0, 1, 1, 0, 0, 0, target)


def test_a_path_follows_the_move_of_a_directory_above(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    reader = open_reader(log.path)
    paths = Paths(Tree(reader), lambda: log.head)
    try:
        root = log.append([Draft(0, Created(DISK, state(SUPER_ROOT, b"r", b"/mnt/r")))])
        outer = log.append([Draft(0, Created(DISK, state(root, b"a")))])
        inner = log.append([Draft(0, Created(DISK, state(outer, b"b")))])
        assert paths.path(inner) == b"/mnt/r/a/b"
        assert paths.path(root) == b"/mnt/r"
        log.append([Draft(outer, Moved(DISK, state(root, b"new"), root, b"a"))])
        assert paths.path(inner) == b"/mnt/r/new/b"
        assert paths.path(99) is None
    finally:
        reader.close()
        log.close()


def test_nothing_is_doubled_below_a_root_at_the_top_of_the_machine(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    reader = open_reader(log.path)
    try:
        root = log.append([Draft(0, Created(DISK, state(SUPER_ROOT, b"all", b"/")))])
        child = log.append([Draft(0, Created(DISK, state(root, b"etc")))])
        assert Paths(Tree(reader), lambda: log.head).path(child) == b"/etc"
    finally:
        reader.close()
        log.close()
