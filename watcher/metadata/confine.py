"""Takes from the worker process what it could do harm with."""

import ctypes
import os
import platform
import resource
import signal
from pathlib import Path

from watcher.metadata.landlock import forbid_changes

_PR_SET_PDEATHSIG = 1
"""prctl(2), include/uapi/linux/prctl.h."""
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "armv7l": 314, "riscv64": 30, "i686": 289}
"""System call numbers: the C library has no function for it (ioprio_set(2))."""
_IOPRIO_WHO_PROCESS = 1
_BEST_EFFORT_LOWEST = (2 << 13) | 7
"""The idle class would be starved for as long as anybody reads anything from the disk."""
_NICENESS = 10
_PAGE_BYTES = resource.getpagesize()


def address_space_bytes() -> int:
    """Return how much address space this process has in use, in bytes (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_bytes().split()[0]) * _PAGE_BYTES


def confine(parent: int, memory_bytes: int) -> None:
    """Bind this process to its parent's life, to little memory and to low priority.

    It cannot change any file from then on: promised, and here the kernel sees to it; with
    Landlock, or at least with a limit of 0 on what may be written.

    Args:
        parent: process id of the pool.
        memory_bytes: address space beyond what is in use now.

    Raises:
        OSError: the kernel refuses.
        ProcessLookupError: the parent is dead already.
    """
    _die_with(parent)
    _ignore_signals_for_the_group()
    os.nice(_NICENESS)
    _lower_io_priority()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    forbid_changes()
    _limit(resource.RLIMIT_AS, address_space_bytes() + memory_bytes)


def give_memory_back() -> None:
    """Return to the kernel what the C library has kept of freed memory: about 6 MB after texts.

    To have it do so all the time (mallopt(3)) would cost a twentieth of libmagic's speed.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc
        libc.malloc_trim(0)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))


def _die_with(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    if os.getppid() != parent:
        raise ProcessLookupError("the server is gone")


def _ignore_signals_for_the_group() -> None:
    """Leave Ctrl-C, and systemd's SIGTERM to the whole service, to the server."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _lower_io_priority() -> None:
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None:
        # A refusal (seccomp) leaves the priority that niceness implies: nothing to report.
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _BEST_EFFORT_LOWEST)
