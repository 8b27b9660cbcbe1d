"""The calls of fanotify(7) that are needed here, and the handles that its events name files by.

Numbers are from linux/fanotify.h and linux/fcntl.h; they are part of the kernel's interface.
"""

import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import NamedTuple

from watcher.sysctl import LimitReachedError, lowest

# Of fanotify_init(2).
_CLOEXEC = 0x1
_NONBLOCK = 0x2
_UNLIMITED_QUEUE = 0x10
_UNLIMITED_MARKS = 0x20
_REPORT_FID = 0x200
_REPORT_DFID_NAME = 0xC00
_REPORT_TARGET_FID = 0x1000
_UNLIMITED = _UNLIMITED_QUEUE | _UNLIMITED_MARKS

# Of fanotify_mark(2).
_MARK_ADD = 0x1
_MARK_ONLYDIR = 0x8
_MARK_FILESYSTEM = 0x100
_AT_FDCWD = -100

# Of open_by_handle_at(2).
_AT_EMPTY_PATH = 0x1000
_AT_HANDLE_FID = 0x200
_MAX_HANDLE_BYTES = 128

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
Q_OVERFLOW = 0x4000
EVENT_ON_CHILD = 0x0800_0000
RENAME = 0x1000_0000
ONDIR = 0x4000_0000

# Not among them: OPEN, ACCESS and CLOSE_NOWRITE, which our own listing and hashing would cause.
_NAMES = CREATE | DELETE | MODIFY | CLOSE_WRITE | ATTRIB | ONDIR
_SELF = DELETE_SELF | MOVE_SELF

_MAX_GROUPS = ("fs.fanotify.max_user_groups", "user.max_fanotify_groups")
_MAX_MARKS = ("fs.fanotify.max_user_marks", "user.max_fanotify_marks")
"""The machine's limit, and that of the user namespace, which may be lower."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_init.argtypes = (ctypes.c_uint, ctypes.c_uint)
_libc.fanotify_mark.argtypes = (
    ctypes.c_int,
    ctypes.c_uint,
    ctypes.c_uint64,
    ctypes.c_int,
    ctypes.c_char_p,
)
_libc.name_to_handle_at.argtypes = (
    ctypes.c_int,
    ctypes.c_char_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_int),
    ctypes.c_int,
)

_HANDLE = struct.Struct("=Ii")
"""`struct file_handle`: how many bytes, of which type; then the bytes."""


class Group(NamedTuple):
    """An open fanotify group.

    Attributes:
        fd: its descriptor, which does not block.
        targets: whether events name the file as well as its place, and renames come as one event:
            since Linux 5.17.
        unlimited: whether its queue and its marks have no limit, for which the kernel asks for
            CAP_SYS_ADMIN.
    """

    fd: int
    targets: bool
    unlimited: bool

    @property
    def _names(self) -> int:
        return _NAMES | (RENAME if self.targets else MOVED_FROM | MOVED_TO)

    def mark_filesystem(self, path: bytes) -> None:
        """Have all events of a filesystem told.

        Args:
            path: of anything on it; of btrfs it must be in the top-level subvolume.

        Raises:
            OSError: EPERM without CAP_SYS_ADMIN; EXDEV in a btrfs subvolume; EOPNOTSUPP or ENODEV
                where the filesystem has no handles or no number of its own.
            WatchLimitError: no more marks.
        """
        # Of a filesystem all self events of files came as well; the targets tell of directories.
        self._mark(_MARK_ADD | _MARK_FILESYSTEM, self._names | (0 if self.targets else _SELF), path)

    def mark_directory(self, path: bytes) -> None:
        """Have events in a directory told; errors as `mark_filesystem`.

        The mark goes when the directory is deleted, its filesystem unmounted or the group closed.
        """
        self._mark(_MARK_ADD | _MARK_ONLYDIR, self._names | _SELF | EVENT_ON_CHILD, path)

    def _mark(self, flags: int, mask: int, path: bytes) -> None:
        if not _libc.fanotify_mark(self.fd, flags, mask, _AT_FDCWD, path):
            return
        code = ctypes.get_errno()
        if code == errno.ENOSPC:
            raise LimitReachedError(lowest(_MAX_MARKS), "fanotify", "marks")
        raise OSError(code, f"fanotify cannot mark this: {os.strerror(code)}")

    def marked(self) -> set[tuple[bool, int]]:
        """Return the device numbers on which there are marks.

        Returns:
            For each device number, as `os.makedev` makes it, whether the whole filesystem is
            marked. The lines are those of fs/notify/fdinfo.c of Linux.
        """
        found = set()
        with Path(f"/proc/self/fdinfo/{self.fd}").open(encoding="ascii") as lines:
            for words in map(str.split, lines):
                if words[:1] != ["fanotify"]:
                    continue
                fields = dict(word.partition(":")[::2] for word in words[1:])
                if "sdev" in fields:
                    device = int(fields["sdev"], 16)  # as the kernel keeps it: 12 bits and 20
                    found.add(("ino" not in fields, os.makedev(device >> 20, device & 0xFFFFF)))
        return found


def open_group(*, modern: bool = True, unlimited: bool = True) -> Group:
    """Open a group that reports directory, name and, where the kernel can, target of each event.

    Args:
        modern: use what came with Linux 5.17.
        unlimited: have no limits, where that is allowed.

    Raises:
        WatchLimitError: the user has no more groups.
        OSError: EPERM where it is forbidden, as in most containers; EINVAL before Linux 5.9;
            ENOSYS in a kernel without fanotify.
    """
    reports = (_REPORT_DFID_NAME | _REPORT_FID | _REPORT_TARGET_FID, _REPORT_DFID_NAME)
    failure = OSError(errno.EINVAL, "fanotify: this kernel is too old")
    for report in reports if modern else reports[1:]:
        for limits in (_UNLIMITED, 0) if unlimited else (0,):
            try:
                fd = _init(_CLOEXEC | _NONBLOCK | report | limits)
            except OSError as error:
                failure = error
            else:
                return Group(fd, bool(report & _REPORT_TARGET_FID), bool(limits))
    raise failure


def _init(flags: int) -> int:
    fd: int = _libc.fanotify_init(flags, os.O_CLOEXEC)
    if fd >= 0:
        return fd
    code = ctypes.get_errno()
    if code == errno.EMFILE:
        # That is also what a process without free descriptors gets; then this fails as well.
        os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
        raise LimitReachedError(lowest(_MAX_GROUPS), "fanotify", "groups")
    raise OSError(code, f"fanotify cannot be used: {os.strerror(code)}")


def mark_limit() -> int:
    """Return how many directories a user can mark who has not got CAP_SYS_ADMIN.

    Raises:
        OSError: this kernel has no fanotify.
    """
    return lowest(_MAX_MARKS).value


class HandleReader:
    """Asks for the handles of files; one thread uses it."""

    def __init__(self) -> None:
        self._buffer = ctypes.create_string_buffer(_HANDLE.size + _MAX_HANDLE_BYTES)
        self._mount_id = ctypes.c_int()

    def read(self, fd: int) -> tuple[int, bytes]:
        """Return the number of a descriptor's mount, and its handle as events contain it.

        Raises:
            OSError: EOPNOTSUPP: its filesystem has no handles.
        """
        code = self._ask(fd, _AT_EMPTY_PATH)
        if code == errno.EOPNOTSUPP:
            # A handle that only names and cannot be opened will do; since Linux 6.5.
            code = self._ask(fd, _AT_EMPTY_PATH | _AT_HANDLE_FID)
        if code:
            raise OSError(code, f"this filesystem has no handles: {os.strerror(code)}")
        size = _HANDLE.size + _HANDLE.unpack_from(self._buffer)[0]
        return self._mount_id.value, self._buffer.raw[:size]

    def _ask(self, fd: int, flags: int) -> int:
        _HANDLE.pack_into(self._buffer, 0, _MAX_HANDLE_BYTES, 0)
        mount_id = ctypes.byref(self._mount_id)
        if not _libc.name_to_handle_at(fd, b"", self._buffer, mount_id, flags):
            return 0
        return ctypes.get_errno()


def filesystem_id(fd: int) -> bytes:
    """Return the number by which events name the filesystem of a descriptor: `f_fsid`."""
    return struct.pack("=Q", os.statvfs(fd).f_fsid & (1 << 64) - 1)
