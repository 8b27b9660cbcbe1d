"""A number for each filesystem that stays the same over reboots, remounts and other disk orders.

`st_dev` does none of that: it follows the order in which disks were found, and the kernel gives
that of an unmounted filesystem to the next one. What is used instead, the first that there is:

1. Nothing (0) where inode numbers cannot be trusted.
2. `f_fsid` of statfs(2), which most types make from the UUID of the filesystem. It is always
   there, also in a container, and btrfs puts the subvolume into it, whose inode numbers overlap.
3. The UUID, of types whose `f_fsid` is only their `st_dev`: asked of the filesystem, or else
   looked up in /dev/disk/by-uuid, which udev keeps.
4. Type and source, where the source is a device or an export.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path

from watcher.mounts import Mount, MountTable

_DEVICE_FSID_TYPES = (
    frozenset({"adfs", "affs", "befs", "bfs", "cramfs", "efs", "erofs", "f2fs", "hfs", "hfsplus"})
    | {"hpfs", "iso9660", "minix", "nilfs2", "ntfs", "ntfs3", "omfs", "qnx4", "qnx6", "ramfs"}
    | {"romfs", "squashfs", "sysv", "udf", "ufs", "xfs"}
)
"""Types whose `f_fsid` is the device number: `huge_encode_dev` in their statfs of Linux 6."""

# _IOR(0x15, 0, struct fsuuid2) of linux/fs.h, since Linux 6.9: length, then up to 16 bytes.
_FS_IOC_GETFSUUID = 0x80111500
_FSUUID2_BYTES = 17
_NO_ANSWER = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES, errno.EPERM}

_BY_UUID = Path("/dev/disk/by-uuid")


class Filesystems:
    """Names filesystems, each looked at once.

    Args:
        mounts: tells types and sources; not read again here, so refresh it and then `forget`.
        by_uuid: the folder in which udev keeps a link for each device, named by its UUID.
    """

    def __init__(self, mounts: MountTable, *, by_uuid: Path = _BY_UUID) -> None:
        self._mounts = mounts
        self._by_uuid = by_uuid
        self._known: dict[int, int] = {}

    def identify(self, st_dev: int, fd: int) -> int:
        """Return the lasting number of a filesystem.

        Args:
            st_dev: as `lstat` says of a file on it.
            fd: a descriptor of a file or directory on it, if possible of that very btrfs
                subvolume; O_PATH suffices.

        Returns:
            Positive, less than 2^63; 0 where inode numbers do not last, or where a second
            filesystem with the same identity is mounted (a clone of a disk).

        Raises:
            OSError: the filesystem cannot be asked.
        """
        known = self._known.get(st_dev)
        if known is None:
            known = self._known[st_dev] = self._unless_taken(self._look(fd))
        return known

    def forget(self) -> None:
        """Ask again from now on: another filesystem may have got an `st_dev` that was known."""
        self._known.clear()

    def _unless_taken(self, identity: int) -> int:
        return 0 if identity in self._known.values() else identity

    def _look(self, fd: int) -> int:
        mount = self._mounts.holding(fd)
        if mount is None or not mount.has_lasting_inodes:
            return 0
        fsid = os.statvfs(fd).f_fsid
        if fsid and mount.fs_type not in _DEVICE_FSID_TYPES:
            return _number(b"fsid", b"%d" % fsid)
        uuid = _ask_uuid(fd) or self._look_up_uuid(mount)
        return _number(b"uuid", uuid) if uuid else _number_of_source(mount)

    def _look_up_uuid(self, mount: Mount) -> bytes:
        """Return the UUID of a mount's device, in canonical bytes, or none."""
        with contextlib.suppress(FileNotFoundError):
            for link in sorted(self._by_uuid.iterdir()):
                if _device_of(link) == mount.device:
                    return _canonical(link.name)
        return b""


def _number(kind: bytes, name: bytes) -> int:
    """Return a number from 1 to 2^63 - 1 for a name; the same for ever."""
    digest = hashlib.blake2b(name, digest_size=8, person=kind).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def _number_of_source(mount: Mount) -> int:
    """Two mounts of the source "tmpfs" are two filesystems, two of "/dev/sda1" are one."""
    if b"/" not in mount.source:
        return 0
    return _number(b"source", mount.fs_type.encode() + b"\0" + mount.source)


def _device_of(path: Path) -> int:
    """Return the device number of a device file; 0 if it has just gone."""
    try:
        return path.stat().st_rdev
    except FileNotFoundError:
        return 0


def _canonical(uuid: str) -> bytes:
    """Return the bytes of a UUID, however it is written; the text of what is none."""
    try:
        return bytes.fromhex(uuid.replace("-", ""))
    except ValueError:
        return uuid.encode()


def _ask_uuid(fd: int) -> bytes:
    """Return the UUID that the filesystem says it has; empty if it does not say or has none."""
    buffer = bytearray(_FSUUID2_BYTES)
    # Opening anything else than these may wait or have effects, and is not needed: the first
    # thing seen of a filesystem is the directory that it is mounted on, or a file bound there.
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return b""
    try:
        _ask(fd, buffer)
    except OSError as error:
        if error.errno in _NO_ANSWER:
            return b""
        raise
    uuid = bytes(buffer[1 : 1 + buffer[0]])
    return uuid if any(uuid) else b""


def _ask(fd: int, buffer: bytearray) -> None:
    # An O_PATH descriptor takes no ioctl.
    opened = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(opened, _FS_IOC_GETFSUUID, buffer)
    finally:
        os.close(opened)
