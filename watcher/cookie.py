"""Cookies: files that are made only to see whether, and when, their making is noticed.

A cookie is empty, it is removed as soon as it is made (its notifications stay in the queue), and
nobody's file is opened or overwritten: it is only made where nothing has its name. A server that is
killed in between leaves an empty file; the next one removes it when it begins to follow the root.
Its name is kept out of the feed by a pattern that is always there. So the only trace is the time of
the directory, which says when an entry was last made in it.
"""

import contextlib
import errno
import os
import re
import secrets
import stat
from typing import Final

PATTERN: Final = re.compile(rb"\.nasfeed-sync-[0-9a-f]{32}")
"""Names of cookies; `watcher.excludes` keeps them out of the feed."""

_PREFIX: Final = b".nasfeed-sync-"

_UNWRITABLE: Final = (
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT),
    *(errno.EOPNOTSUPP, errno.EINVAL),
)
"""Reasons why no cookie can be made in a root that is well otherwise."""


class UnwritableError(Exception):
    """No cookie can be made in a directory that is well otherwise; the message says why."""


def make_cookie(directory_fd: int) -> bytes:
    """Make and remove a cookie.

    Args:
        directory_fd: where.

    Returns:
        Its name.

    Raises:
        UnwritableError: none can be made there.
        OSError: the disk is in trouble.
    """
    name = _PREFIX + secrets.token_hex(16).encode()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, 0o600, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in _UNWRITABLE:
            raise UnwritableError(error.strerror) from error
        raise
    os.close(fd)
    # Another server that begins to follow the root may have taken it for a leftover.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory_fd)
    return name


def remove_leftovers(root_fd: int) -> None:
    """Remove cookies that a killed server left in a root.

    Only what can be nothing else is touched: an empty regular file with a cookie's name.

    Args:
        root_fd: the root's directory.
    """
    with os.scandir(root_fd) as entries:
        leftovers = [entry.name for entry in entries if PATTERN.fullmatch(os.fsencode(entry.name))]
    for name in leftovers:
        try:
            found = os.lstat(name, dir_fd=root_fd)
            if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                os.unlink(name, dir_fd=root_fd)
        except FileNotFoundError:
            continue  # of another server, that is at work
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
