"""Opens paths beneath a directory so that no link and no race leads out of it.

The kernel does it in one call where it has openat2(2), since Linux 5.6. Where it has not, or where
a container forbids it, each name is opened by itself without following links. That is as safe,
because there is no `..` in the paths, and slower.
"""

import contextlib
import ctypes
import errno
import os
import stat
from typing import Final

from api.beneath.paths import split

OPENAT2: Final = 437
"""Number of the system call, the same on all architectures (asm-generic/unistd.h)."""

RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
RESOLVE_CACHED: Final = 0x20
"""From linux/openat2.h; the last since Linux 5.12: fail with EAGAIN rather than wait for a disk."""

_CONFINED: Final = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_ALWAYS: Final = os.O_NOFOLLOW | os.O_CLOEXEC
_STEP: Final = os.O_PATH | os.O_DIRECTORY | _ALWAYS
_WITH_MODE: Final = os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY)


class _How(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def openat2(directory: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """Open a path as the kernel's newer call does; see its manual page, section 2.

    Args:
        directory: descriptor that the path is relative to.
        path: without NUL.
        flags: as of open(2).
        mode: of a file that it makes, else 0.
        resolve: RESOLVE_ flags.

    Returns:
        A descriptor.

    Raises:
        OSError: as the kernel says.
    """
    how = _How(flags, mode, resolve)
    while True:
        fd = _libc.syscall(
            ctypes.c_long(OPENAT2),
            ctypes.c_int(directory),
            ctypes.c_char_p(path),
            ctypes.byref(how),
            ctypes.c_size_t(ctypes.sizeof(how)),
        )
        if fd >= 0:
            return int(fd)
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def has_openat2() -> bool:
    """Say whether the kernel lets this process call openat2; else it is done step by step."""
    top = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        os.close(openat2(top, b".", os.O_PATH | os.O_CLOEXEC, 0, _CONFINED))
    except OSError as error:
        # EPERM: older container runtimes answer so for calls that they do not know.
        if error.errno in (errno.ENOSYS, errno.EPERM, errno.EINVAL):
            return False
        raise
    finally:
        os.close(top)
    return True


class Resolver:
    """Opens paths beneath directories.

    Args:
        by_kernel: with openat2; None asks the kernel.
    """

    def __init__(self, *, by_kernel: bool | None = None) -> None:
        self.by_kernel = has_openat2() if by_kernel is None else by_kernel

    def open(self, top: int, path: bytes, flags: int, mode: int = 0) -> int:
        """Open a path beneath a directory; symbolic links are never followed.

        Args:
            top: descriptor of the directory; O_PATH suffices.
            path: relative, raw; empty for the directory itself.
            flags: of open(2); O_NOFOLLOW and O_CLOEXEC are added. A symbolic link itself is
                opened by O_PATH.
            mode: of a file that is made.

        Returns:
            A descriptor.

        Raises:
            BadPathError: no client may name such a path.
            OSError: as open(2) says; ELOOP where a symbolic link is in the way.
        """
        names = split(path)
        mode = mode if flags & _WITH_MODE else 0
        if self.by_kernel:
            return openat2(top, path or b".", flags | _ALWAYS, mode, _CONFINED)
        if not names:
            return os.open(b".", flags | _ALWAYS, mode, dir_fd=top)
        with contextlib.ExitStack() as opened:
            for name in names[:-1]:
                top = _step(top, name)
                opened.callback(os.close, top)
            return os.open(names[-1], flags | _ALWAYS, mode, dir_fd=top)

    def open_cached(self, top: int, path: bytes, flags: int) -> int | None:
        """As `open`, but return None where the kernel would have to wait for a disk.

        Raises:
            BadPathError: as `open`.
            OSError: as `open`.
        """
        split(path)
        if not self.by_kernel:
            return None
        try:
            return openat2(top, path or b".", flags | _ALWAYS, 0, _CONFINED | RESOLVE_CACHED)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EINVAL):  # EINVAL: a kernel before 5.12
                return None
            raise


def _step(directory: int, name: bytes) -> int:
    """Open a directory in another one; a link there is ELOOP, as openat2 says."""
    try:
        return os.open(name, _STEP, dir_fd=directory)
    except NotADirectoryError as error:
        if stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        raise
