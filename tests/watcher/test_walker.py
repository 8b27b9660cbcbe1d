"""What a walker says of directories, beside what is on the disk and what is known."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from eventlog.events import Modified
from eventlog.log import Draft
from tests.watcher.rig import Rig, followed
from watcher import listing, walker
from watcher.fanotify_kernel import HandleReader
from watcher.listing import Lister
from watcher.walk import Rules, Task, Todo, Walked

MOUNT = b"fsid"


class Walk:
    """A walker on what a rig has recorded."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.fd = os.open(rig.path, os.O_RDONLY)
        found, file = os.fstat(self.fd), rig.node("").state
        self.mounts = {HandleReader().read(self.fd)[0]: MOUNT}
        self.devices = {found.st_dev: file.fs}

    def todo(self, path: str = "") -> Todo:
        node = self.rig.node(path)
        return Todo(node.number, path.encode(), (node.state.fs, node.state.ino))

    def walk(self, *todos: Todo) -> Walked:
        rules = Rules(str(self.rig.path), (), (), self.devices, self.mounts)
        made = walker.Comparer(Lister(rules, self.fd), self.devices, self.rig.tree)
        return made.compare(Task(list(todos) or [self.todo("top")]))


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    with followed(tmp_path) as rig:
        below = rig.path / "top" / "below"
        below.mkdir(parents=True)
        (below / "file").write_bytes(b"content")
        (below / os.fsdecode(b"no\xffutf8")).mkdir()
        (below / os.fsdecode(b"no\xffutf8") / "deep").touch()
        (below / ".DS_Store").touch()
        (below / "link").symlink_to("nowhere")
        os.mkfifo(below / "fifo")
        os.link(below / "file", below / "again")
        rig.scan()
        made = Walk(rig)
        yield made
        os.close(made.fd)


def test_what_is_as_it_is_known_is_told_by_number_and_handle(walk: Walk) -> None:
    done = walk.walk()
    paths = ["top", "top/below", os.fsdecode(b"top/below/no\xffutf8")]
    assert done.numbers == [walk.rig.node(path).number for path in paths]
    assert len(set(done.keys)) == 3
    assert all(key.startswith(MOUNT) for key in done.keys)
    assert (done.entries, done.others, done.todos) == (7, [], [])


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda below: (below / "new").touch(), id="new"),
        pytest.param(lambda below: (below / "file").unlink(), id="unlinked"),
        pytest.param(lambda below: (below / "file").rename(below / "renamed"), id="renamed"),
        pytest.param(lambda below: (below / "fifo").chmod(0o600), id="chmod"),
        pytest.param(lambda below: (below / "file").write_bytes(b"CONTENT"), id="written"),
        pytest.param(
            lambda below: os.chown(below / "link", 1, 1, follow_symlinks=False), id="chown"
        ),
        pytest.param(
            lambda below: (below / os.fsdecode(b"no\xffutf8")).chmod(0o700), id="directory chmod"
        ),
        pytest.param(
            lambda below: (below / os.fsdecode(b"no\xffutf8")).rename(below / "text"),
            id="directory renamed",
        ),
    ],
)
def test_a_directory_with_any_difference_is_left_alone(
    walk: Walk, change: Callable[[Path], object]
) -> None:
    below = walk.todo("top/below")
    change(walk.rig.path / "top" / "below")
    done = walk.walk()
    assert done.numbers == [walk.rig.node("top").number]
    assert (done.others, done.todos) == ([below], [])


def test_what_somebody_wrote_through_a_face_is_known_as_well(walk: Walk) -> None:
    node = walk.rig.node("top/below/file")
    mine = Modified("somebody", node.state)
    walk.rig.append([Draft(node.number, mine)])
    assert len(walk.walk().numbers) == 3
    other = Modified("somebody", msgspec.structs.replace(node.state, size=8))
    walk.rig.append([Draft(node.number, other)])
    assert walk.walk().others == [walk.todo("top/below")]


def test_another_directory_in_the_place_is_left_alone(walk: Walk) -> None:
    top = walk.todo("top")
    (walk.rig.path / "top").rename(walk.rig.path / "elsewhere")
    assert walk.walk(top).others == [top]
    (walk.rig.path / "top").mkdir()
    assert walk.walk(top).others == [top]


def test_other_filesystems_are_left_alone(walk: Walk) -> None:
    walk.mounts = {}
    assert walk.walk().others == [walk.todo("top")]


def test_devices_that_are_not_known_are_left_alone(walk: Walk) -> None:
    walk.devices = {}
    assert walk.walk().others == [walk.todo("top")]


def test_a_large_directory_is_left_alone(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ENTRIES_MAX", 3)
    done = walk.walk()
    assert done.others == [walk.todo("top/below")]


def test_after_a_while_the_rest_is_given_back(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walker, "ENTRIES", 1)
    done = walk.walk()
    assert done.numbers == [walk.rig.node("top").number]
    assert done.todos == [walk.todo("top/below")]
