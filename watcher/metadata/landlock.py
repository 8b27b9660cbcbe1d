"""Has the kernel refuse whatever would change a file or reach the network (landlock(7)).

A library that a hostile file has taken over can then read, and that is all.
"""

import ctypes
import struct

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""System call numbers, the same on every architecture (include/uapi/asm-generic/unistd.h)."""
_ASK_VERSION = 1
_PR_SET_NO_NEW_PRIVS = 38
_CHANGES_SINCE_1 = 1 << 1 | sum(1 << bit for bit in range(4, 13))
"""Writing, removing and making (include/uapi/linux/landlock.h); not executing and reading."""
_LINKING_SINCE_2 = 1 << 13
_TRUNCATING_SINCE_3 = 1 << 14
_TCP_SINCE_4 = 1 << 0 | 1 << 1


def forbid_changes() -> bool:
    """Forbid this process, for ever, to change files or to use TCP.

    Descriptors that are open already stay as they are.

    Returns:
        Whether it worked; it does not where the kernel is too old (before 5.13) or built without.
    """
    libc = ctypes.CDLL(None)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < 1:
        return False
    attributes = _attributes(version)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0 or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)


def _attributes(version: int) -> bytes:
    """Return the `struct landlock_ruleset_attr` of what is forbidden, as far as a version knows."""
    files = _CHANGES_SINCE_1
    files |= _LINKING_SINCE_2 if version >= 2 else 0  # noqa: PLR2004 - the version in the name
    files |= _TRUNCATING_SINCE_3 if version >= 3 else 0  # noqa: PLR2004
    if version >= 4:  # noqa: PLR2004
        return struct.pack("=QQ", files, _TCP_SINCE_4)
    return struct.pack("=Q", files)
