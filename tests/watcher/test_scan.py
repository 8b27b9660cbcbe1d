"""A scan finds what the hints did not tell."""

import os
import shutil
from pathlib import Path

import pytest

from eventlog.events import Content
from tests.watcher.mounting import image, mounted, privileged
from tests.watcher.rig import followed
from watcher import scan
from watcher.backend import Hints, Sign
from watcher.follower import OTHERS_SECONDS


def test_a_directory_made_anew_under_its_name_is_listed_itself(tmp_path: Path) -> None:
    """Not the one that was there before, of which a descriptor may still be open."""
    with followed(tmp_path) as rig:
        old = rig.path / "directory"
        old.mkdir()
        (old / "before").touch()
        rig.scan()
        before = rig.node("directory").number
        assert rig.tools.directories.fd(before) is not None
        shutil.rmtree(old)
        (rig.path / "spare").mkdir()  # or the new one might get the old one's inode
        old.mkdir()
        (old / "after").touch()
        rig.scan()
        assert rig.names() == {"directory", "directory/after", "spare"}
        assert rig.node("directory").number == before


def test_what_is_missing_may_have_been_moved_to_where_the_scan_comes_later(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        for name in ("a", "z"):
            (rig.path / name).mkdir()
        (rig.path / "z" / "file").touch()
        (rig.path / "a" / "other").touch()
        rig.scan()
        numbers = {rig.node("z/file").number, rig.node("a/other").number}
        (rig.path / "z" / "file").rename(rig.path / "a" / "file")
        (rig.path / "a" / "other").rename(rig.path / "z" / "other")
        rig.scan()
        assert {rig.node("a/file").number, rig.node("z/other").number} == numbers


def test_a_first_scan_makes_one_event_for_each_entry(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        (rig.path / "a" / "b").mkdir(parents=True)
        (rig.path / "a" / "b" / "file").touch()
        counts = rig.scan().counts
        assert (counts.entries, counts.directories, counts.events) == (3, 3, 3)
        again = rig.scan().counts
        assert (again.entries, again.events) == (3, 0)


@pytest.mark.slow
def test_a_directory_too_large_to_hold_is_compared_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "CHUNK", 10)
    with followed(tmp_path) as rig:
        for number in range(35):
            (rig.path / f"{number:02}").touch()
        rig.scan()
        assert len(rig.names()) == 35
        for number in range(0, 35, 3):
            (rig.path / f"{number:02}").unlink()
        (rig.path / "new").touch()
        rig.scan()
        assert rig.names() == {path.name for path in rig.path.iterdir()}


@privileged
@pytest.mark.parametrize("maker", ["ext4", "xfs", "btrfs"])
def test_a_directory_that_is_kept_open_is_listed_as_it_is_now(tmp_path: Path, maker: str) -> None:
    """btrfs lists what was there when it was opened, or rewound."""
    point = tmp_path / "point"
    point.mkdir()
    with (
        mounted("-o", "loop", image(tmp_path / "disk", maker, "-q", megabytes=320), point=point),
        followed(point) as rig,
    ):
        for name in ("one", "two"):
            (rig.path / name).touch()
            rig.scan()
        assert {"one", "two"} <= rig.names()


def test_without_watches_the_scan_goes_on_and_says_so_once(tmp_path: Path) -> None:
    with followed(tmp_path, limit=2) as rig:
        for number in range(5):
            (rig.path / f"{number}").mkdir()
            (rig.path / f"{number}" / "file").touch()
        rig.scan()
        assert len(rig.names()) == 10
        assert rig.backend.watches() == 2
        assert "sysctl -w fake.max_watches=4 " in rig.session.limit_message


def test_how_many_directories_are_not_watched_is_known_when_the_scan_has_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with followed(tmp_path, limit=2) as rig:
        for number in range(7):
            (rig.path / f"{number}").mkdir()
        for _ in range(2):
            rig.session.scan_began()
            rig.scan()
            rig.session.scan_ended()
        told = rig.session.limit_message
        assert (
            "; directories that are not watched, and only compared from time to time: 6; " in told
        )
        assert "sysctl -w fake.max_watches=14 " in told
        assert [told in message for message in caplog.messages] == [False, True]


def test_what_is_missing_is_not_removed_while_another_root_is_walked(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        (rig.path / "file").touch()
        rig.scan()
        (rig.path / "file").unlink()
        rig.others_walk = True
        rig.follower.start_scan()
        rig.wait(5.0)
        assert rig.names() == {"file"}
        rig.others_walk = False
        rig.wait(0.1)
        assert rig.names() == set()


def test_another_root_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with followed(tmp_path) as rig:
        (rig.path / "file").touch()
        rig.scan()
        (rig.path / "file").unlink()
        rig.others_walk = True
        rig.follower.start_scan()
        rig.wait(OTHERS_SECONDS + 1)
        assert rig.names() == set()


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_rename_among_lost_hints_may_have_been_a_write_as_well(
    tmp_path: Path, *, is_lost: bool
) -> None:
    """Size and time are as they were, so that no scan would see it later."""
    with followed(tmp_path) as rig:
        file = rig.path / "file"
        file.write_bytes(b"one")
        rig.scan()
        before = rig.node("file")
        rig.describe("file")
        times = file.stat()
        if is_lost:
            file.write_bytes(b"two")
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        file.rename(rig.path / "moved")
        rig.follower.take(Hints({}, overflow=is_lost))
        rig.hint("file", Sign.MOVED_FROM)
        rig.hint("moved", Sign.MOVED_TO)
        rig.work()
        rig.scan()
        moved = rig.node("moved")
        assert moved.number == before.number
        assert moved.state.content == (Content.PENDING if is_lost else Content.DONE)
