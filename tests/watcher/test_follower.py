"""Hints in whatever order they come: the tree ends as the disk, and ids follow their files."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Created, Modified, Moved, Reason, Removed
from tests.watcher.rig import Rig, followed, rigs
from watcher.backend import Sign
from watcher.follower import LOST_SECONDS, MOVE_GRACE_SECONDS
from watcher.root import RootAbsentError


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with followed(tmp_path) as rig:
        yield rig


def test_a_hint_has_only_its_own_place_looked_at(rig: Rig) -> None:
    (rig.path / "told").touch()
    (rig.path / "untold").touch()
    rig.hint("told", Sign.CREATED)
    rig.work()
    assert rig.names() == {"told"}


def test_a_new_directory_is_watched_and_listed_to_the_bottom(rig: Rig) -> None:
    (rig.path / "a" / "b" / "c").mkdir(parents=True)
    (rig.path / "a" / "b" / "c" / "file").touch()
    rig.hint("a", Sign.CREATED)
    rig.work()
    assert rig.names() == {"a", "a/b", "a/b/c", "a/b/c/file"}
    assert rig.backend.watched() >= {rig.node(name).number for name in ("a", "a/b", "a/b/c")}


@pytest.mark.parametrize("order", ["old first", "new first", "old much earlier"])
def test_both_halves_of_a_rename_may_come_in_any_order(rig: Rig, order: str) -> None:
    (rig.path / "old").touch()
    rig.scan()
    number = rig.node("old").number
    (rig.path / "old").rename(rig.path / "new")
    halves = [("old", Sign.MOVED_FROM), ("new", Sign.MOVED_TO)]
    for path, sign in reversed(halves) if order == "new first" else halves:
        rig.hint(path, sign)
        if order == "old much earlier":
            rig.clock.seconds += MOVE_GRACE_SECONDS / 2
            rig.work()
    rig.work()
    rig.wait(MOVE_GRACE_SECONDS * 2)
    assert rig.node("new").number == number
    assert rig.names() == {"new"}


def test_an_unlinked_name_is_gone_at_once_and_one_moved_away_after_a_grace(rig: Rig) -> None:
    for name in ("deleted", "moved"):
        (rig.path / name).touch()
    rig.scan()
    for name in ("deleted", "moved"):
        (rig.path / name).unlink()
    rig.hint("deleted", Sign.DELETED)
    rig.hint("moved", Sign.MOVED_FROM)
    rig.work()
    assert rig.names() == {"moved"}
    rig.wait(MOVE_GRACE_SECONDS * 2)
    assert rig.names() == set()
    reasons = [event.reason for event in rig.events() if isinstance(event, Removed)]
    assert reasons == [Reason.DELETED, Reason.MOVED_OUT]


def test_a_hint_about_a_directory_that_was_renamed_finds_it(rig: Rig) -> None:
    (rig.path / "before").mkdir()
    rig.scan()
    (rig.path / "before" / "file").touch()
    rig.hint("before/file", Sign.CREATED)
    (rig.path / "before").rename(rig.path / "after")
    rig.hint("before", Sign.MOVED_FROM)
    rig.hint("after", Sign.MOVED_TO)
    rig.wait(MOVE_GRACE_SECONDS * 2)
    assert rig.names() == {"after", "after/file"}


def test_a_directory_that_stays_lost_is_scanned_for(rig: Rig) -> None:
    (rig.path / "directory").mkdir()
    rig.scan()
    rig.tools.directories.close()
    (rig.path / "directory").rename(rig.path / "elsewhere")  # and nobody tells
    rig.hint("directory/file", Sign.CREATED)
    rig.wait(LOST_SECONDS + 1)
    assert rig.follower.rescan_reason


def test_a_removed_tree_ends_its_watches(rig: Rig) -> None:
    (rig.path / "a" / "b").mkdir(parents=True)
    rig.scan()
    shutil.rmtree(rig.path / "a")
    rig.hint("a", Sign.DELETED)
    rig.work()
    assert rig.names() == set()
    assert rig.backend.watched() == {rig.number}


def test_nothing_is_removed_when_the_root_has_gone_with_its_contents(rig: Rig) -> None:
    (rig.path / "file").touch()
    rig.scan()
    before = rig.events()
    rig.path.rename(rig.path.with_name("elsewhere"))
    rig.path.mkdir()
    with pytest.raises(RootAbsentError):
        rig.scan()
    assert rig.events() == before


def test_a_move_between_roots_is_found_by_the_other_half(tmp_path: Path) -> None:
    with rigs(tmp_path, "one", "two") as [one, two]:
        (one.path / "directory").mkdir()
        (one.path / "directory" / "file").touch()
        one.scan()
        two.scan()
        number = one.node("directory").number
        (one.path / "directory").rename(two.path / "directory")
        two.hint("directory", Sign.MOVED_TO)
        two.work()
        assert two.node("directory").number == number
        assert {place.name for place in two.elsewhere} == {b"directory"}  # the other half's to see
        one.hint("directory", Sign.MOVED_FROM)
        one.wait(MOVE_GRACE_SECONDS * 2)
        assert one.names() == set()
        assert two.names() == {"directory", "directory/file"}


def test_a_save_seen_as_a_whole_is_one_modification(rig: Rig) -> None:
    target = rig.path / "letter"
    target.write_bytes(b"first")
    rig.scan()
    after = len(rig.events())
    (rig.path / "letter.new").write_bytes(b"second")
    (rig.path / "letter.new").replace(target)
    rig.hint("letter.new", Sign.CREATED | Sign.WRITTEN | Sign.MOVED_FROM)
    rig.hint("letter", Sign.MOVED_TO)
    rig.work()
    assert [type(event) for event in rig.events()[after:]] == [Modified]


def test_a_look_at_what_has_not_changed_makes_no_event(rig: Rig) -> None:
    (rig.path / "file").touch()
    rig.scan()
    before = rig.events()
    rig.hint("file", Sign.ATTRIBUTES)
    rig.work()
    rig.scan()
    assert rig.events() == before
    assert {type(event) for event in before} <= {Created, Modified, Moved}
