import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.mounting import attached, image, mounted, privileged, run
from watcher.filesystems import Filesystems, _canonical
from watcher.mounts import Mount, MountTable


@pytest.fixture
def mounts() -> Iterator[MountTable]:
    table = MountTable()
    yield table
    table.close()


@pytest.fixture
def filesystems(mounts: MountTable) -> Filesystems:
    return Filesystems(mounts)


def identify(filesystems: Filesystems, path: Path) -> int:
    fd = os.open(path, os.O_PATH)
    try:
        return filesystems.identify(os.fstat(fd).st_dev, fd)
    finally:
        os.close(fd)


def fresh(path: Path) -> int:
    """The identity as a program started now would find it."""
    table = MountTable()
    try:
        return identify(Filesystems(table), path)
    finally:
        table.close()


def test_it_fits_into_63_bits_and_is_the_same_for_all_files(
    filesystems: Filesystems, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    found = {identify(filesystems, path) for path in (tmp_path, *tmp_path.iterdir())}
    assert len(found) == 1
    assert all(0 < number < 2**63 for number in found)


def test_another_process_finds_the_same(filesystems: Filesystems, tmp_path: Path) -> None:
    assert identify(filesystems, tmp_path) == fresh(tmp_path)


def test_a_file_that_is_seen_first_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert fresh(tmp_path / "file") == fresh(tmp_path)


def test_a_fifo_that_is_seen_first_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    fresh(tmp_path / "fifo")


def test_two_filesystems_differ(filesystems: Filesystems) -> None:
    assert identify(filesystems, Path("/proc")) != identify(filesystems, Path("/sys"))


def test_a_closed_descriptor_is_an_error(filesystems: Filesystems) -> None:
    with pytest.raises(OSError, match="999999"):
        filesystems.identify(12345, 999_999)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", bytes.fromhex("0f1e2d3c4b5a69788796a5b4c3d2e1f0")),
        ("0F1E-2D3C", bytes.fromhex("0f1e2d3c")),
        ("2023-01-01-00-00-00-00", bytes.fromhex("2023010100000000")),
        ("some label", b"some label"),
    ],
)
def test_a_uuid_is_the_same_however_it_is_written(text: str, canonical: bytes) -> None:
    assert _canonical(text) == canonical


def test_the_uuid_of_a_device_is_looked_up(tmp_path: Path, mounts: MountTable) -> None:
    # /dev/null stands for the disk: all that counts is the device number behind the link.
    (tmp_path / "11111111-2222-3333-4444-555555555555").symlink_to("/dev/null")
    (tmp_path / "gone").symlink_to("/dev/nonexistent")
    filesystems = Filesystems(mounts, by_uuid=tmp_path)
    device = Path("/dev/null").stat().st_rdev
    mount = Mount(1, 0, device, b"/", b"/", "xfs", b"/dev/sda1")
    assert filesystems._look_up_uuid(mount).hex() == "11111111222233334444555555555555"
    assert filesystems._look_up_uuid(mount._replace(device=1)) == b""


def test_without_udev_there_is_no_uuid_to_look_up(tmp_path: Path, mounts: MountTable) -> None:
    filesystems = Filesystems(mounts, by_uuid=tmp_path / "missing")
    assert filesystems._look_up_uuid(Mount(1, 0, 1, b"/", b"/", "xfs", b"/dev/sda1")) == b""


@privileged
def test_a_disk_stays_the_same_under_another_device_number(tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", "ext4", "-q")
    other = image(tmp_path / "other", "ext4", "-q")
    point = tmp_path / "point"
    elsewhere = tmp_path / "elsewhere"
    point.mkdir()
    elsewhere.mkdir()
    with mounted("-o", "loop", disk, point=point):
        first = fresh(point), point.stat().st_dev
        subprocess.run(["umount", point], check=True)
    with mounted("-o", "loop", other, point=elsewhere), mounted("-o", "loop", disk, point=point):
        second = fresh(point), point.stat().st_dev
        assert fresh(elsewhere) not in {0, first[0]}
    assert first[0] == second[0] != 0
    assert first[1] != second[1]


@privileged
def test_a_bind_mount_is_the_same_filesystem(filesystems: Filesystems, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with mounted("--bind", source, point=target):
        assert identify(filesystems, target) == identify(filesystems, tmp_path)


@privileged
def test_a_clone_of_a_mounted_disk_is_not_trusted(filesystems: Filesystems, tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", "ext4", "-q")
    clone = tmp_path / "clone"
    clone.write_bytes(disk.read_bytes())
    points = [tmp_path / "a", tmp_path / "b"]
    for point in points:
        point.mkdir()
    with mounted("-o", "loop", disk, point=points[0]):
        original = identify(filesystems, points[0])
        with mounted("-o", "loop", clone, point=points[1]):
            assert identify(filesystems, points[1]) == 0
        assert identify(filesystems, points[0]) == original != 0


@privileged
def test_a_new_filesystem_with_an_old_device_number_is_told_apart(
    filesystems: Filesystems, tmp_path: Path
) -> None:
    with mounted("-t", "tmpfs", "tmpfs", point=tmp_path):
        if not os.statvfs(tmp_path).f_fsid:
            pytest.skip("the tmpfs of this kernel has no identity")
        first = identify(filesystems, tmp_path), tmp_path.stat().st_dev
        subprocess.run(["umount", tmp_path], check=True)
    with mounted("-t", "tmpfs", "tmpfs", point=tmp_path):
        filesystems.forget()
        second = identify(filesystems, tmp_path), tmp_path.stat().st_dev
    assert first[0] != second[0]


@privileged
def test_what_is_mounted_later_is_known_at_once(filesystems: Filesystems, tmp_path: Path) -> None:
    before = identify(filesystems, tmp_path)
    with mounted("-t", "tmpfs", "tmpfs", point=tmp_path):
        assert identify(filesystems, tmp_path) not in {0, before}


@privileged
@pytest.mark.parametrize("maker", ["vfat", "exfat"])
def test_fat_is_not_trusted(filesystems: Filesystems, tmp_path: Path, maker: str) -> None:
    disk = image(tmp_path / "disk", maker)
    point = tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        assert identify(filesystems, point) == 0


@privileged
def test_xfs_is_named_by_its_uuid_and_not_by_its_device(tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", "xfs", "-q", megabytes=320)
    point = tmp_path / "point"
    point.mkdir()
    found = []
    with attached(disk) as one, attached(disk) as other:
        for device in (one, other):
            with mounted(device, point=point):
                found.append((fresh(point), point.stat().st_dev))
                (point / "file").touch()
                assert fresh(point / "file") == found[-1][0] != 0
                subprocess.run(["umount", point], check=True)
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


@privileged
def test_subvolumes_of_one_btrfs_differ_and_stay(filesystems: Filesystems, tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", "btrfs", "-q", megabytes=160)
    point = tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        run("btrfs", "subvolume", "create", point / "sub")
        found = [identify(filesystems, point), identify(filesystems, point / "sub")]
        assert len({0, *found}) == 3
        subprocess.run(["umount", point], check=True)
    with mounted("-o", "loop,subvol=sub", disk, point=point):
        assert fresh(point) == found[1]
