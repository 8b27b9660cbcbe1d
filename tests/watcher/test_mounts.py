import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.mounting import mounted, privileged
from watcher.mounts import Mount, MountTable, parse_mountinfo

LINES = rb"""22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
36 22 8:17 /share /srv/a\040b\134c\011d\012e rw,noatime master:1 shared:9 - xfs /dev/sdb1 rw
40 22 0:45 / /mnt/nas rw - nfs4 nas.local:/volume1 rw,vers=4.2
41 22 0:46 / /mnt/pool rw - fuse.mergerfs disk1:disk2 rw
42 36 0:47 / /srv/a\040b\134c\011d\012e rw - tmpfs none rw
"""


@pytest.fixture
def table(tmp_path: Path) -> Iterator[MountTable]:
    path = tmp_path / "mountinfo"
    path.write_bytes(LINES)
    # The kernel's file can always be polled; a regular one always says that it is ready.
    found = MountTable(str(path))
    yield found
    found.close()


@pytest.fixture
def live() -> Iterator[MountTable]:
    found = MountTable()
    yield found
    found.close()


def test_a_line_is_taken_apart() -> None:
    assert parse_mountinfo(LINES)[1] == Mount(
        mount_id=36,
        parent_id=22,
        device=os.makedev(8, 17),
        root=b"/share",
        point=b"/srv/a b\\c\td\ne",
        fs_type="xfs",
        source=b"/dev/sdb1",
    )


def test_any_number_of_optional_fields() -> None:
    parsed = parse_mountinfo(LINES)
    assert [mount.fs_type for mount in parsed] == ["ext4", "xfs", "nfs4", "fuse.mergerfs", "tmpfs"]


def test_a_carriage_return_in_a_path_ends_no_line() -> None:
    assert parse_mountinfo(b"1 0 0:1 / /a\rb rw - tmpfs x rw\n")[0].point == b"/a\rb"


def test_a_source_may_be_empty() -> None:
    assert parse_mountinfo(b"1 0 0:1 / /a rw - tmpfs  rw\n")[0].source == b""


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        parse_mountinfo(b"/dev/sda1 / ext4 rw 0 0\n")


def test_real_mountinfo_is_understood_wholly(live: MountTable) -> None:
    lines = Path("/proc/self/mountinfo").read_bytes().count(b"\n")
    assert len(live.mounts) == lines
    assert live.at(b"/proc") is not None


@pytest.mark.parametrize(
    ("path", "point"),
    [
        (b"/", b"/"),
        (b"/srv", b"/"),
        (b"/mnt/nas", b"/mnt/nas"),
        (b"/mnt/nas/deep/er", b"/mnt/nas"),
        (b"/mnt/nas2", b"/"),
    ],
)
def test_a_path_is_held_by_the_deepest_mount(table: MountTable, path: bytes, point: bytes) -> None:
    found = table.at(path)
    assert found is not None
    assert found.point == point


def test_of_two_mounts_on_one_point_the_later_one_holds(table: MountTable) -> None:
    found = table.at(b"/srv/a b\\c\td\ne/file")
    assert found is not None
    assert found.fs_type == "tmpfs"


def test_mounts_below_a_path(table: MountTable) -> None:
    assert [mount.mount_id for mount in table.below(b"/mnt")] == [40, 41]
    assert [mount.mount_id for mount in table.below(b"/mnt/nas")] == [40]
    assert table.below(b"/mn") == []
    assert len(table.below(b"/")) == 5


@pytest.mark.parametrize(
    ("fs_type", "polled", "lasting"),
    [
        ("ext4", False, True),
        ("btrfs", False, True),
        ("tmpfs", False, True),
        ("vfat", False, False),
        ("exfat", False, False),
        ("nfs4", True, False),
        ("cifs", True, False),
        ("9p", True, False),
        ("fuseblk", True, False),
        ("fuse.mergerfs", True, False),
        ("fusectl", False, True),
    ],
)
def test_what_a_type_can_be_trusted_with(fs_type: str, polled: bool, lasting: bool) -> None:  # noqa: FBT001 - a table
    mount = Mount(1, 0, 1, b"/", b"/", fs_type, b"x")
    assert (mount.needs_polling, mount.has_lasting_inodes) == (polled, lasting)


def test_a_descriptor_knows_its_mount(live: MountTable) -> None:
    fd = os.open("/proc", os.O_PATH)
    try:
        found = live.holding(fd)
    finally:
        os.close(fd)
    assert found is not None
    assert found.fs_type == "proc"


def test_a_closed_descriptor_has_no_mount(live: MountTable) -> None:
    with pytest.raises(FileNotFoundError):
        live.holding(999_999)


def test_nothing_mounted_is_no_change(live: MountTable) -> None:
    # Other programs may mount meanwhile, so only the table itself is compared.
    changed = live.refresh()
    assert changed or not live.refresh()


def test_closing_twice_is_harmless(live: MountTable) -> None:
    live.close()
    live.close()


@privileged
def test_mounting_and_unmounting_are_changes(tmp_path: Path, live: MountTable) -> None:
    point = os.fsencode(tmp_path)
    with mounted("-t", "tmpfs", "one", point=tmp_path):
        assert live.refresh(20)
        assert [mount.source for mount in live.below(point)] == [b"one"]
        assert live.at(point + b"/x") == live.below(point)[0]
        subprocess.run(["umount", tmp_path], check=True)
        assert live.refresh(20)
    assert live.below(point) == []


@privileged
def test_a_mount_made_since_the_last_refresh_is_found_and_still_news(
    tmp_path: Path, live: MountTable
) -> None:
    with mounted("-t", "tmpfs", "one", point=tmp_path):
        fd = os.open(tmp_path, os.O_PATH)
        try:
            found = live.holding(fd)
        finally:
            os.close(fd)
        assert found is not None
        assert found.point == os.fsencode(tmp_path)
        assert live.refresh()
