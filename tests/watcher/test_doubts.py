"""A file that cannot be read is called failed only when its disk is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.rig import Rig, followed
from watcher.doubts import ATTEMPTS_MAX, Doubts
from watcher.metadata.task import Outcome, Status


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with followed(tmp_path) as rig:
        (rig.path / "directory").mkdir()
        (rig.path / "directory" / "file").touch()
        rig.scan()
        yield rig


def outcome(rig: Rig, status: Status) -> Outcome:
    return Outcome(rig.node("directory/file").number, status, 1, 2, 3, 4, problem="it failed")


@pytest.mark.parametrize("status", [Status.DONE, Status.CHANGED, Status.FAILED])
def test_what_is_known_is_passed_on(rig: Rig, status: Status) -> None:
    known = [outcome(rig, status)]
    assert Doubts(lambda _: True).sort(known, rig.tree) == (known, [])


def test_a_file_is_given_up_after_many_attempts_while_its_root_is_there(rig: Rig) -> None:
    doubts = Doubts(rig.number.__eq__)
    unreadable = outcome(rig, Status.UNREADABLE)
    for _ in range(ATTEMPTS_MAX - 1):
        assert doubts.sort([unreadable], rig.tree) == ([], [unreadable])
    assert doubts.sort([unreadable], rig.tree) == ([outcome(rig, Status.FAILED)], [])
    assert doubts.sort([unreadable], rig.tree) == ([], [unreadable])


def test_no_file_is_given_up_while_its_root_is_absent(rig: Rig) -> None:
    doubts = Doubts(lambda _: False)
    unreadable = outcome(rig, Status.UNREADABLE)
    for _ in range(10 * ATTEMPTS_MAX):
        assert doubts.sort([unreadable], rig.tree) == ([], [unreadable])


def test_attempts_are_forgotten_when_it_can_be_read(rig: Rig) -> None:
    doubts = Doubts(lambda _: True)
    unreadable = outcome(rig, Status.UNREADABLE)
    for _ in range(3):
        for _ in range(ATTEMPTS_MAX - 1):
            assert doubts.sort([unreadable], rig.tree) == ([], [unreadable])
        doubts.sort([outcome(rig, Status.DONE)], rig.tree)


def test_a_file_that_was_removed_is_not_waited_for(rig: Rig) -> None:
    unreadable = outcome(rig, Status.UNREADABLE)
    (rig.path / "directory" / "file").unlink()
    rig.scan()
    known, doubted = Doubts(lambda _: False).sort([unreadable], rig.tree)
    assert (len(known), doubted) == (1, [])
