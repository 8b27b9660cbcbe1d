"""What is mounted where, and that it has changed: no notification backend tells of a mount."""

import os
import re
import select
from typing import NamedTuple

MOUNTINFO = "/proc/self/mountinfo"

NETWORK_TYPES = (
    frozenset({"9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "hgfs", "lustre"})
    | {"ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs"}
    | {"vboxsf", "virtiofs"}
)
"""Types on which others write as well: this kernel reports only what passes through it."""

_FAT_TYPES = frozenset({"exfat", "msdos", "umsdos", "vfat"})

_ESCAPE = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """A line of mountinfo.

    Attributes:
        mount_id: the kernel's number of the mount; reused after it is gone.
        parent_id: number of the mount that it is mounted on.
        device: `st_dev` of the files, except on btrfs, where each subvolume has one of its own.
        root: what of the filesystem is mounted, as a path in it.
        point: where, as a path of this process.
        fs_type: `ext4`, `fuse.mergerfs` and so on.
        source: device, export or whatever the filesystem takes it for.
    """

    mount_id: int
    parent_id: int
    device: int
    root: bytes
    point: bytes
    fs_type: str
    source: bytes

    @property
    def needs_polling(self) -> bool:
        """Whether files can change without this kernel noticing."""
        return self.fs_type in NETWORK_TYPES or is_fuse(self.fs_type)

    @property
    def has_lasting_inodes(self) -> bool:
        """Whether an inode number keeps naming the same file.

        FAT and exFAT invent the numbers when they read an entry. FUSE filesystems and network
        clients may do the same, and do not say whether they do.
        """
        return not self.needs_polling and self.fs_type not in _FAT_TYPES


def is_fuse(fs_type: str) -> bool:
    """Return whether a program outside the kernel answers for the files."""
    return fs_type in {"fuse", "fuseblk"} or fs_type.startswith("fuse.")


def _unescape(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def _parse_line(line: bytes) -> Mount:
    before, _, after = line.partition(b" - ")
    mount_id, parent_id, device, root, point, *_ = before.split(b" ")
    fs_type, source, *_ = after.split(b" ")
    major, minor = device.split(b":")
    return Mount(
        int(mount_id),
        int(parent_id),
        os.makedev(int(major), int(minor)),
        _unescape(root),
        _unescape(point),
        _unescape(fs_type).decode("ascii", "replace"),
        _unescape(source),
    )


def parse_mountinfo(data: bytes) -> tuple[Mount, ...]:
    """Return the mounts of a mountinfo file, in its order: a later one may cover an earlier.

    The format is in proc_pid_mountinfo(5): space, tab, newline and backslash are octal escapes.

    Raises:
        ValueError: it is not in that format.
    """
    # Not splitlines: a carriage return in a path is not escaped.
    return tuple(_parse_line(line) for line in data.split(b"\n") if line)


class MountTable:
    """The mounts that this process sees.

    One thread uses a table: the kernel tells each open file once that something has changed.

    Args:
        path: a mountinfo file.

    Raises:
        OSError: there is no such file; is /proc mounted?
    """

    def __init__(self, path: str = MOUNTINFO) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        # proc_pid_mountinfo(5): a change gives POLLPRI and POLLERR; it is readable at all times.
        self._poll.register(self._file, select.POLLPRI)
        self.mounts = self._read()

    @property
    def fd(self) -> int:
        """The descriptor that select.poll tells POLLPRI of, once after each change."""
        return self._file

    def refresh(self, timeout_seconds: float = 0) -> bool:
        """Read the table again if something was mounted, unmounted or moved.

        Args:
            timeout_seconds: the longest wait for a change; 0 does not wait.

        Returns:
            Whether the mounts are other than before.
        """
        if not self.touched(timeout_seconds):
            return False
        before = self.mounts
        self.reread()
        return self.mounts != before

    def reread(self) -> None:
        """Read the table again, changed or not."""
        self.mounts = self._read()

    def touched(self, timeout_seconds: float = 0) -> bool:
        """Say, once for each time, whether anything was mounted or unmounted, even if undone.

        What was read of the table stays as it is.

        Args:
            timeout_seconds: the longest wait for a change; 0 does not wait.
        """
        return bool(self._poll.poll(timeout_seconds * 1000))

    def at(self, path: bytes) -> Mount | None:
        """Return the mount that holds an absolute path without links, or None without any.

        A mount that a later one higher up has covered is not told apart; `holding` is exact.
        """
        holding = [mount for mount in self.mounts if _is_at_or_below(path, mount.point)]
        return max(reversed(holding), key=lambda mount: len(mount.point), default=None)

    def below(self, path: bytes) -> list[Mount]:
        """Return the mounts at or below an absolute path without links."""
        return [mount for mount in self.mounts if _is_at_or_below(mount.point, path)]

    def holding(self, fd: int) -> Mount | None:
        """Return the mount through which a descriptor was opened.

        It needs no path, and is right for btrfs subvolumes, whose `st_dev` no line has. It reads
        the file anew, because the number of a mount that is gone is given to the next one; what
        `refresh` says is not changed by that.

        Returns:
            The mount; None if it lies outside what the process sees, or has just gone.

        Raises:
            OSError: it is no open descriptor.
        """
        mount_id = _mount_id(fd)
        return next((mount for mount in self._read() if mount.mount_id == mount_id), None)

    def devices(self) -> set[int]:
        """Return the devices of all that is mounted; reads the file anew."""
        return {mount.device for mount in self._read()}

    def tops(self, device: int) -> list[Mount]:
        """Return where the top of a filesystem is mounted; reads the file anew."""
        return [m for m in self._read() if m.device == device and m.root == b"/"]

    def close(self) -> None:
        """Close the file; what was read last stays readable."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> tuple[Mount, ...]:
        os.lseek(self._file, 0, os.SEEK_SET)
        parts = []
        while part := os.read(self._file, 1 << 16):
            parts.append(part)
        return parse_mountinfo(b"".join(parts))


def _is_at_or_below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top.rstrip(b"/") + b"/")


def _mount_id(fd: int) -> int:
    """Return the number of a descriptor's mount; proc_pid_fdinfo(5), since Linux 3.15."""
    with open(f"/proc/self/fdinfo/{fd}", "rb") as file:  # noqa: PTH123 - a pseudo file
        for line in file:
            key, _, value = line.partition(b":")
            if key == b"mnt_id":
                return int(value)
    raise OSError(f"/proc/self/fdinfo/{fd} names no mount")
