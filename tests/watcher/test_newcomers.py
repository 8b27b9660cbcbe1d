"""A first scan records batches while it goes on listing."""

import os
from pathlib import Path

import pytest

from tests.watcher.rig import Rig, followed
from watcher import newcomers, scan
from watcher.backend import Place, Sign
from watcher.observation import new_state


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "BATCH", 3)
    monkeypatch.setattr(scan, "BATCH", 20)


def _grow(top: Path, depth: int) -> None:
    for name in ("a", "b"):
        (top / name).mkdir()
        (top / f"{name}.txt").write_text(name)
        if depth:
            _grow(top / name, depth - 1)


def _on_disk(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


@pytest.mark.usefixtures("small_batches")
def test_all_is_found_and_every_directory_is_watched_by_its_own_number(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        _grow(rig.path, 4)
        counts = rig.scan(fresh=True).counts
        names = _on_disk(rig.path)
        assert rig.names() == names
        assert counts.entries == counts.events == len(names)
        directories = {name for name in names if (rig.path / name).is_dir()}
        assert rig.backend.watched() == {rig.number} | {
            rig.node(name).number for name in directories
        }
        assert rig.scan().counts.events == 0


def test_what_is_recorded_is_what_a_look_would_have_recorded(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        top = rig.path
        (top / "directory").mkdir()
        (top / "file").write_text("text")
        os.link(top / "file", top / "directory" / "link")
        (top / "symlink").symlink_to("file")
        os.mkfifo(top / "fifo")
        os.utime(top / "file", ns=(0, -(2**40)))
        rig.scan(fresh=True)
        for name in rig.names():
            node = rig.node(name)
            place = Place(node.state.parent, node.state.name)
            fd = rig.tools.directories.fd(place.directory)
            assert fd is not None
            facts = rig.tools.looker.look(fd, place).facts
            assert facts is not None
            assert node.state == new_state(place, facts)


@pytest.mark.usefixtures("small_batches")
def test_a_hint_in_the_middle_makes_the_rest_a_comparison(tmp_path: Path) -> None:
    """What was moved from where the scan was to where it comes later keeps its number."""
    with followed(tmp_path) as rig:
        _grow(rig.path, 4)
        rig.follower.start_scan(fresh=True)
        rig.follower.work()
        rig.follower.work()
        seen = next(name for name in ("a.txt", "b.txt") if rig.find(name))
        number = rig.node(seen).number
        target = _unseen_directory(rig)
        (rig.path / seen).rename(rig.path / target / "moved")
        rig.hint(seen, Sign.MOVED_FROM)
        rig.work()
        rig.wait(1.0)
        assert rig.names() == _on_disk(rig.path)
        assert rig.node(f"{target}/moved").number == number


@pytest.mark.usefixtures("small_batches")
def test_a_directory_that_moved_before_it_was_listed_is_found_by_the_hints(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        _grow(rig.path, 4)
        rig.follower.start_scan(fresh=True)
        rig.follower.work()
        assert rig.find("a")
        assert not rig.find("a/a")
        (rig.path / "a").rename(rig.path / "b" / "elsewhere")
        rig.hint("a", Sign.MOVED_FROM)
        rig.work()
        rig.wait(3.0)
        if rig.follower.rescan_reason:
            rig.scan()
        assert rig.names() == _on_disk(rig.path)


def _unseen_directory(rig: Rig) -> str:
    """Return a directory that is recorded, but was not listed yet."""
    watched = rig.backend.watched()
    return min(
        name
        for name in rig.names()
        if rig.node(name).state.is_directory and rig.node(name).number not in watched
    )
