"""A comparison that finds most of a large root missing is not believed without asking."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Reason
from tests.watcher.nas import Nas, running, write
from tests.watcher.rig import Rig, followed
from watcher import removals
from watcher.backend import Sign
from watcher.reconcile import Gone

FILES = 1100


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A root with more nodes than are given up easily, most of them in one directory."""
    with followed(tmp_path) as rig:
        for number in range(FILES):
            write(rig.path / "many" / str(number), b"")
        write(rig.path / "other", b"")
        rig.scan()
        assert len(rig.names()) == FILES + 2
        yield rig


def test_most_of_a_large_root_is_kept_until_it_is_confirmed(rig: Rig) -> None:
    shutil.rmtree(rig.path / "many")
    for _ in range(2):
        rig.scan()
        assert len(rig.names()) == FILES + 2
        assert rig.follower.withheld == (FILES + 1, FILES + 3)
    rig.follower.start_scan(accept=True)
    rig.work()
    assert rig.names() == {"other"}
    assert rig.follower.withheld == (0, 0)


def test_what_comes_back_was_never_gone(rig: Rig) -> None:
    number = rig.node("many/7").number
    (rig.path / "many").rename(rig.path.parent / "elsewhere")
    rig.scan()
    assert rig.follower.withheld.missing == FILES + 1
    (rig.path.parent / "elsewhere").rename(rig.path / "many")
    rig.scan()
    assert rig.follower.withheld == (0, 0)
    assert rig.node("many/7").number == number


def test_other_changes_go_on_while_removals_are_withheld(rig: Rig) -> None:
    shutil.rmtree(rig.path / "many")
    rig.scan()
    write(rig.path / "new", b"")
    (rig.path / "other").unlink()
    rig.hint("new", Sign.CREATED)
    rig.hint("other", Sign.DELETED)
    rig.work()
    assert rig.find("new") is not None
    assert rig.find("other") is None
    assert rig.find("many/7") is not None


def test_half_of_a_root_is_removed(rig: Rig) -> None:
    for number in range(FILES // 2):
        (rig.path / "many" / str(number)).unlink()
    rig.scan()
    assert len(rig.names()) == FILES - FILES // 2 + 2


def test_what_was_renamed_is_not_counted(rig: Rig) -> None:
    number = rig.node("many/7").number
    (rig.path / "many").rename(rig.path / "renamed")
    rig.scan()
    assert rig.node("renamed/7").number == number
    assert rig.follower.withheld == (0, 0)


def test_what_hints_tell_of_is_believed(rig: Rig) -> None:
    shutil.rmtree(rig.path / "many")
    rig.hint("many", Sign.DELETED)
    rig.work()
    assert rig.names() == {"other"}


@pytest.mark.parametrize(("percent", "missing"), [(0, 1), (50, 0), (99, 0), (100, 0)])
def test_the_share_is_configured(
    rig: Rig, percent: float, missing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removals, "NODES_MIN", 10)
    gone = [Gone(rig.node("other"), Reason.DELETED, overtaken=False)]
    assert removals.withhold(rig.tree, rig.number, gone, percent).missing == missing


def test_it_is_told_and_can_be_confirmed(tmp_path: Path) -> None:
    with running(tmp_path, "root", skip_initial_hash=True) as nas:
        for number in range(FILES):
            write(nas.roots["root"] / "many" / str(number), b"")
        nas.see()
        with nas.away():
            shutil.rmtree(nas.roots["root"] / "many")
        nas.wait(lambda: nas.statuses()[0].withheld == FILES + 1, "what is missing is withheld")
        [status] = nas.statuses()
        assert status.warning.endswith("or you run: nasfeed confirm-removal root")
        assert_withheld(nas, FILES + 1)
        nas.system.observers[0].accept()
        nas.see()
        assert_withheld(nas, 0)


def assert_withheld(nas: Nas, count: int) -> None:
    shown = nas.system.status("1.2.3")
    assert shown.roots[0].withheld == count
    assert any("confirm-removal root" in warning for warning in shown.warnings) == bool(count)
