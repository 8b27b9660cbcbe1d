"""What shows in the place of a root or mount is not believed to be what was recorded there."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.mounting import mounted, privileged
from tests.watcher.nas import Nas


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Nas]:
    (tmp_path / "root").mkdir()
    server = Nas(tmp_path, {"one": tmp_path / "root"})
    yield server
    server.stop()


def test_a_stray_file_in_a_new_directory_at_the_roots_path_removes_nothing(nas: Nas) -> None:
    root = nas.roots["one"]
    (root / "kept").write_bytes(b"kept")
    nas.start()
    nas.see()
    number = nas.number(root / "kept")
    away = root.with_name("away")
    root.rename(away)
    root.mkdir()
    (root / "stray").write_bytes(b"stray")
    nas.wait(lambda: nas.statuses()[0].state == "offline", "the root is held")
    assert nas.number(root / "kept") == number
    (root / "stray").unlink()
    root.rmdir()
    away.rename(root)
    nas.wait(lambda: nas.statuses()[0].state == "online", "the root is back")
    nas.see()
    assert nas.number(root / "kept") == number


def test_a_new_directory_at_the_roots_path_is_taken_when_asked_to(nas: Nas) -> None:
    root = nas.roots["one"]
    (root / "old").write_bytes(b"old")
    nas.start()
    nas.see()
    root.rename(root.with_name("away"))
    root.mkdir()
    (root / "new").write_bytes(b"new")
    nas.wait(lambda: nas.statuses()[0].state == "offline", "the root is held")
    nas.system.observers[0].accept()
    nas.see()


@privileged
def test_another_disk_on_a_nested_mount_is_held_until_it_is_confirmed(nas: Nas) -> None:
    root = nas.roots["one"]
    point = root / "mnt"
    point.mkdir()
    with mounted("-t", "tmpfs", "first", point=point):
        (point / "photos").mkdir()
        (point / "photos" / "a").write_bytes(b"a")
        nas.start()
        nas.see()
        number = nas.number(point / "photos" / "a")
        subprocess.run(["umount", "--lazy", point], check=True)
    with mounted("-t", "tmpfs", "second", point=point):
        (point / "photos").mkdir()
        (point / "photos" / "b").write_bytes(b"b")
        nas.wait(lambda: nas.statuses()[0].unmounted == 1, "the mount is held")
        assert nas.number(point / "photos" / "a") == number
        assert nas.find(point / "photos" / "b") is None
        nas.system.observers[0].accept()
        nas.see()
        (point / "photos" / "c").write_bytes(b"c")
        nas.see()


@privileged
def test_a_disk_mounted_on_an_empty_directory_is_shown(nas: Nas) -> None:
    point = nas.roots["one"] / "usb"
    point.mkdir()
    nas.start()
    nas.see()
    with mounted("-t", "tmpfs", "stick", point=point):
        (point / "file").write_bytes(b"file")
        nas.see()


@privileged
def test_a_watched_disk_can_be_unmounted_when_all_is_quiet(tmp_path: Path) -> None:
    point = tmp_path / "disk"
    point.mkdir()
    with mounted("-t", "tmpfs", "disk", point=point):
        (point / "in").mkdir()
        nas = Nas(tmp_path, {"one": point})
        try:
            nas.start()
            nas.see()
            nas.wait(
                lambda: (
                    subprocess.run(["umount", point], capture_output=True, check=False).returncode
                    == 0
                ),
                "it is unmounted",
            )
            nas.wait(lambda: nas.statuses()[0].state == "offline", "the root is held")
            assert nas.find(point / "in") is not None
        finally:
            nas.stop()
