"""Where things lie that were deleted: on their own filesystem, in a directory of the server's.

A rename cannot leave a filesystem, and others may be mounted below a root. So each of them has such
a directory, in its uppermost directory that is in the root.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Final

from api.beneath.paths import join, split
from api.beneath.reach import Reach, reach_of, uppermost
from api.beneath.root import Beneath
from api.beneath.staging import OWN

TRASH: Final = OWN + b"/trash"

_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""There is nothing at a path: a name on the way is missing, or is a file or a link by now."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def made(beneath: Beneath, path: bytes) -> bytes:
    """Return the directory for something that is deleted now, made if it is missing.

    Args:
        beneath: access to the root.
        path: of the thing.

    Raises:
        OSError: it cannot be made.
    """
    top = uppermost(beneath, split(path)[:-1])
    for own in (OWN, TRASH):
        with contextlib.suppress(FileExistsError), beneath.entry(_join(top, own)) as entry:
            os.mkdir(entry.name, 0o700, dir_fd=entry.directory)
            os.fsync(entry.directory)
    return _join(top, TRASH)


def found(beneath: Beneath, path: bytes, key: bytes) -> bytes:
    """Return the path of something that lies there.

    Args:
        beneath: access to the root.
        path: where it was.
        key: its name now.

    Raises:
        FileNotFoundError: it does not.
        OSError: it cannot be looked for.
    """
    names = split(path)[:-1]
    for depth in range(len(names) + 1):
        place = _join(join(names[:depth]), TRASH + b"/" + key)
        try:
            beneath.stat(place)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise
        else:
            return place
    raise FileNotFoundError(errno.ENOENT, "it is not in the trash", path)


def size(beneath: Beneath, path: bytes) -> int:
    """Return the bytes of a file, or of all that is in a directory.

    Raises:
        BadPathError: it is nested deeper than paths can be long.
        OSError: it cannot be looked at; EXDEV: something is mounted on it or in it.
    """
    with beneath.entry(path) as entry:
        facts, reach = os.lstat(entry.name, dir_fd=entry.directory), reach_of(entry.directory)
    if not stat.S_ISDIR(facts.st_mode):
        return facts.st_size
    total, waiting = 0, [path]
    while waiting:
        above = waiting.pop()
        with beneath.directory(above) as fd:
            _check(fd, reach)
            for each in os.listdir(fd):  # noqa: PTH208 - of a descriptor
                facts = os.lstat(each, dir_fd=fd)
                if stat.S_ISDIR(facts.st_mode):
                    waiting.append(above + b"/" + os.fsencode(each))
                else:
                    total += facts.st_size
    return total


def remove(beneath: Beneath, path: bytes) -> None:
    """Remove a file, or a directory and what is in it, without following anything out of it.

    Raises:
        OSError: it cannot be removed; EXDEV or EBUSY: something is mounted in it, and stays.
    """
    with beneath.entry(path) as entry:
        if _is_directory(entry.directory, entry.name):
            _remove_directory(entry.directory, entry.name)
        else:
            os.unlink(entry.name, dir_fd=entry.directory)


def _remove_directory(above: int, name: bytes) -> None:
    """Remove a directory, however deep it is: what is in one below it is moved up into it."""
    with _doomed(above, name) as fd:
        while names := os.listdir(fd):  # noqa: PTH208 - of a descriptor
            for each in map(os.fsencode, names):
                if _is_directory(fd, each):
                    _flatten(fd, each)
                else:
                    os.unlink(each, dir_fd=fd)


def _flatten(above: int, name: bytes) -> None:
    """Remove the files of a directory, move its directories up, and remove it."""
    with _doomed(above, name) as fd:
        for each in map(os.fsencode, os.listdir(fd)):  # noqa: PTH208 - of a descriptor
            if _is_directory(fd, each):
                up = secrets.token_hex(16).encode()
                os.rename(each, up, src_dir_fd=fd, dst_dir_fd=above)
            else:
                os.unlink(each, dir_fd=fd)


@contextlib.contextmanager
def _doomed(above: int, name: bytes) -> Iterator[int]:
    """Lend a directory for it to be emptied, and remove it then."""
    fd = os.open(name, _DIRECTORY, dir_fd=above)
    try:
        _check(fd, reach_of(above))
        yield fd
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=above)


def _is_directory(above: int, name: bytes) -> bool:
    return stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode)


def _check(fd: int, reach: Reach) -> None:
    """Refuse a directory on which another filesystem is mounted, or the same one once more."""
    if reach_of(fd) != reach:
        raise OSError(errno.EXDEV, "something is mounted here")


def _join(top: bytes, path: bytes) -> bytes:
    return top + b"/" + path if top else path
