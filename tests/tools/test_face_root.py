"""A root as faces see it, with a real observer behind it."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.served import RootUnavailableError, Touched
from tests.watcher.nas import Nas, running
from tools.faces import FaceRoot
from watcher.excludes import Excludes


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Nas]:
    with running(tmp_path, "root") as made:
        yield made


@pytest.fixture
def root(nas: Nas) -> FaceRoot:
    return FaceRoot(nas.system.observers[0], Excludes([]), [])


def writes(nas: Nas, name: str) -> list[Touched]:
    Path(os.fsdecode(nas.system.observers[0].root.path), name).write_bytes(b"data")
    return [(name.encode(), "written")]


def test_what_is_done_meanwhile_is_done_when_it_returns(nas: Nas, root: FaceRoot) -> None:
    seen: list[tuple[bool, threading.Thread]] = []

    def meanwhile() -> None:
        there = Path(os.fsdecode(root.path), "f").exists()
        seen.append((there, threading.current_thread()))

    position = root.perform(lambda: writes(nas, "f"), (b"f",), "alice", meanwhile)
    assert seen == [(True, threading.current_thread())]
    assert position <= nas.head


def test_a_change_that_fails_is_followed_by_nothing(root: FaceRoot) -> None:
    def meanwhile() -> None:
        pytest.fail("nothing was changed")

    def act() -> list[Touched]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        root.perform(act, (b"f",), "alice", meanwhile)


def test_what_fails_meanwhile_is_raised_although_the_change_is_recorded(
    nas: Nas, root: FaceRoot
) -> None:
    def meanwhile() -> None:
        raise OSError("the disk is in trouble")

    before = nas.head
    with pytest.raises(OSError, match="in trouble"):
        root.perform(lambda: writes(nas, "f"), (b"f",), "alice", meanwhile)
    assert nas.head > before


def test_a_root_that_takes_no_changes_refuses_at_once(nas: Nas, root: FaceRoot) -> None:
    observer = nas.system.observers[0]
    observer.stop()
    observer.join()
    with pytest.raises(RootUnavailableError):
        root.perform(lambda: writes(nas, "f"), (b"f",), "alice", lambda: None)
