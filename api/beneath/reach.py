"""How far a rename reaches: within one filesystem and one mount of it (rename(2), EXDEV)."""

import os
import re
from pathlib import Path
from typing import Final

from api.beneath.paths import join
from api.beneath.root import Beneath

Reach = tuple[int, int]
"""Number of a mount and of a filesystem; two directories with the same can be renamed between."""

_MOUNT: Final = re.compile(r"^mnt_id:\s*(\d+)", re.MULTILINE)


def reach_of(fd: int) -> Reach:
    """Return within what something in an open directory can be renamed.

    Subvolumes of btrfs are filesystems of their own without being mounted; the same filesystem can
    be mounted twice. So both numbers are needed. See proc_pid_fdinfo(5) for the first.
    """
    found = _MOUNT.search(Path(f"/proc/self/fdinfo/{fd}").read_text("ascii"))
    return int(found[1]) if found else 0, os.fstat(fd).st_dev


def uppermost(beneath: Beneath, names: tuple[bytes, ...]) -> bytes:
    """Return the path of the uppermost directory that is within reach of one.

    Args:
        beneath: access to the root.
        names: of the path of a directory, which is there.

    Raises:
        OSError: it is not, or cannot be opened.
    """
    with beneath.directory(join(names)) as fd:
        wanted = reach_of(fd)
    for depth in range(len(names)):
        path = join(names[:depth])
        with beneath.directory(path) as fd:
            if reach_of(fd) == wanted:
                return path
    return join(names)
