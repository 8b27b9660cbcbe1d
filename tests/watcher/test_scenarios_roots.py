"""Roots that are missing, swapped, mounted over or unreadable: nothing is ever removed for that."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Content
from tests.watcher import powerless
from tests.watcher.mounting import mounted, privileged, run
from tests.watcher.nas import BACKENDS, Nas, running, started, write


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def nas(tmp_path: Path, backend: str) -> Iterator[Nas]:
    with running(tmp_path, "root", backend=backend) as nas:
        yield nas


def state(nas: Nas) -> str:
    return nas.statuses()[0].state


def wait_offline(nas: Nas) -> None:
    nas.wait(lambda: state(nas) == "offline", "the root is offline")


def wait_online(nas: Nas) -> None:
    nas.wait(lambda: state(nas) == "online", "the root is online")


def test_a_root_that_is_not_there_yet_is_waited_for(tmp_path: Path, backend: str) -> None:
    nas = Nas(tmp_path, {"root": tmp_path / "root"}, backend=backend)
    nas.start()
    try:
        wait_offline(nas)
        assert "No such file" in nas.statuses()[0].reason
        waiting = nas.system.readiness()
        assert not waiting.ready, "an absent disk was served as an empty one"
        assert "root root: cannot be opened: No such file" in waiting.waiting_for
        write(tmp_path / "root" / "file")
        wait_online(nas)
        nas.see()
        assert nas.system.readiness().ready
    finally:
        nas.stop()


def test_a_root_that_goes_and_comes_back_keeps_all(nas: Nas) -> None:
    root = nas.roots["root"]
    write(root / "directory" / "file")
    nas.see()
    before, head = nas.ids(), nas.head
    root.rename(root.with_name("elsewhere"))
    wait_offline(nas)
    assert (nas.ids(), nas.removals(head)) == (before, {})
    root.with_name("elsewhere").rename(root)
    wait_online(nas)
    nas.see()
    assert (nas.ids(), nas.removals(head)) == (before, {})


@pytest.mark.parametrize("down", [False, True])
def test_an_empty_directory_in_the_place_of_a_full_root_removes_nothing(
    nas: Nas,
    down: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    root = nas.roots["root"]
    write(root / "directory" / "file")
    nas.see()
    before, head = nas.ids(), nas.head
    if down:
        nas.stop()
    root.rename(root.with_name("elsewhere"))
    root.mkdir()
    if down:
        nas.start()
    wait_offline(nas)
    assert (nas.ids(), nas.removals(head)) == (before, {})
    nas.system.observers[0].accept()
    wait_online(nas)
    nas.see()
    assert set(nas.removals(head)) == set(before.values()) - {nas.number(root)}


def test_a_root_emptied_by_hand_is_empty(nas: Nas) -> None:
    """It is the same directory: what was in it was removed."""
    file = write(nas.roots["root"] / "file")
    nas.see()
    with nas.away():
        file.unlink()
    nas.see()
    assert len(nas.ids()) == 1


def test_a_root_may_be_a_symbolic_link(tmp_path: Path, backend: str) -> None:
    write(tmp_path / "real" / "file")
    (tmp_path / "link").symlink_to("real")
    nas = Nas(tmp_path, {"root": tmp_path / "link"}, backend=backend)
    with started(nas):
        write(tmp_path / "real" / "new" / "file")
        nas.wait(lambda: nas.find(tmp_path / "real" / "new" / "file") is not None, "it is seen")
        nas.see(tmp_path / "real")


def test_the_servers_own_files_are_never_told_of(tmp_path: Path, backend: str) -> None:
    root = tmp_path / "root"
    write(root / "state" / "notes")
    write(root / "state" / "log.db.replaced" / "20260304T120000Z.db")
    nas = Nas(tmp_path, {"root": root}, backend=backend, database=str(root / "state" / "log.db"))
    with started(nas):
        write(root / "state" / "new")
        write(root / "log.db", b"a file of the same name elsewhere")
        nas.wait(lambda: nas.find(root / "state" / "new") is not None, "it is seen")
        nas.wait(lambda: nas.find(root / "log.db") is not None, "it is seen")
        known = {os.path.relpath(path, bytes(root)) for path in nas.ids()}
        assert known == {b".", b"state", b"state/notes", b"state/new", b"log.db"}
        nas.see(root / "log.db", root / "state" / "new")
        head = nas.head
        write(root / "end")
        nas.see(root / "end")
        # A file that is written may be seen in steps; telling of the log itself would never end.
        assert nas.head <= head + 6, "the server tells of its own writing"


def test_what_cannot_be_read_stays_known_and_harms_nothing_else(
    tmp_path: Path, backend: str
) -> None:
    root = tmp_path / "root"
    inside, secret = write(root / "locked" / "inside"), write(root / "secret")
    nas = Nas(tmp_path, {"root": root}, backend=backend)
    with started(nas):
        nas.see()
        number = nas.number(inside)
        nas.stop()
        inside.parent.chmod(0)
        secret.write_bytes(b"another secret")
        secret.chmod(0)
        powerless.do(nas.start)
        nas.wait(lambda: nas.node(secret).state.content == Content.FAILED, "it is given up")
        nas.wait(lambda: nas.statuses()[0].unreadable == 1, "it is counted")
        write(root / "other")
        nas.see(root / "other")
        assert nas.number(inside) == number
        inside.parent.chmod(0o700)
        secret.chmod(0o600)
        nas.see()


@privileged
def test_a_root_whose_filesystem_is_unmounted_keeps_all(tmp_path: Path, backend: str) -> None:
    disk, point = tmp_path / "disk", tmp_path / "point"
    disk.mkdir()
    point.mkdir()
    write(disk / "directory" / "file")
    with mounted("--bind", disk, point=point):
        nas = Nas(tmp_path, {"root": point}, backend=backend)
        with started(nas):
            nas.see()
            before, head = nas.ids(), nas.head
            run("umount", "--lazy", point)
            wait_offline(nas)
            assert (nas.ids(), nas.removals(head)) == (before, {})
            run("mount", "--bind", disk, point)
            wait_online(nas)
            nas.see()
            assert (nas.ids(), nas.removals(head)) == (before, {})


@privileged
def test_a_disk_mounted_below_a_root_comes_and_goes_and_nothing_is_removed(nas: Nas) -> None:
    point = nas.roots["root"] / "media" / "disk"
    point.mkdir(parents=True)
    nas.see()
    with mounted("-t", "tmpfs", "none", point=point):
        write(point / "deep" / "film", b"film")
        nas.see()
        number, head = nas.number(point / "deep" / "film"), nas.head
        run("umount", "--lazy", point)
        nas.wait(lambda: nas.statuses()[0].unmounted == 1, "the absence is told")
        write(nas.roots["root"] / "end")
        nas.wait(lambda: nas.find(nas.roots["root"] / "end") is not None, "others go on")
        assert nas.number(point / "deep" / "film") == number
        assert nas.removals(head) == {}
