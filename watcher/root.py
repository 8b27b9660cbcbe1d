"""Whether a root is there. An absent root is not an empty root."""

import os
from typing import NamedTuple

from projections.tree import Node
from watcher.observation import Facts


class Root(NamedTuple):
    """A directory that the feed covers.

    Attributes:
        name: under which it appears.
        path: absolute; may be a symbolic link.
    """

    name: str
    path: bytes

    @property
    def raw_name(self) -> bytes:
        """The name as it is stored."""
        return os.fsencode(self.name)


class RootAbsentError(Exception):
    """A root is not there, or is not what it was; the message says why."""


def open_root(root: Root) -> int:
    """Open the directory of a root, following symbolic links.

    Returns:
        A descriptor.

    Raises:
        RootAbsentError: it cannot be opened.
    """
    try:
        return os.open(root.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RootAbsentError(f"cannot be opened: {error.strerror}") from error


def is_empty(fd: int) -> bool:
    """Say whether a directory has no entries at all, or raise OSError."""
    with os.scandir(fd) as entries:
        return next(entries, None) is None


def judge(known: Node | None, facts: Facts, *, was_full: bool, empty: bool) -> str | None:
    """Say why the directory at a root's path is not to be taken for the root.

    Args:
        known: the root's node, None when it was never seen.
        facts: of the directory that is there now.
        was_full: whether anything is known below the root.
        empty: whether the directory that is there now has no entries.

    Returns:
        The reason in words, or None when all is well.
    """
    if known is None or not was_full:
        return None
    if known.state.fs != facts.fs:
        return "another filesystem is there than the one that was recorded"
    if not facts.fs:  # inode numbers mean nothing here
        return "it is empty, and was not when it was recorded" if empty else None
    if known.state.ino != facts.ino:
        return "another directory is there than the one that was recorded"
    return None
