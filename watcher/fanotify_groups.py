"""The fanotify groups of one backend.

A group that has marked a directory of a btrfs subvolume, whose number is not that of its whole
filesystem, may mark nothing else: EXDEV (fanotify_mark(2); `fanotify_set_mark_fsid` of Linux, since
6.8). So what is marked as a whole shares one group, and each filesystem of which directories are
marked, or subvolume, has its own.
"""

import contextlib
import os
import select
from collections.abc import Container, Iterator

from watcher import fanotify_kernel as kernel


class Groups:
    """Groups, which one thread marks with and one other reads.

    Args:
        modern: see `watcher.fanotify_kernel.open_group`.
        unlimited: the same.

    Raises:
        WatchLimitError: the user has no more groups.
        OSError: fanotify cannot be used; see `watcher.fanotify_kernel.open_group`.
    """

    def __init__(self, *, modern: bool, unlimited: bool) -> None:
        self._modern, self._wishes_unlimited = modern, unlimited
        self._poll = select.epoll()
        self._all: list[kernel.Group] = []
        self._common: kernel.Group | None = None
        self._of: dict[bytes, kernel.Group] = {}
        self._free: list[kernel.Group] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._free.append(self._open())
            undo.pop_all()

    @property
    def fd(self) -> int:
        """A descriptor that can be read when any group has events."""
        return self._poll.fileno()

    @property
    def unlimited(self) -> bool:
        """Whether neither marks nor queues have a limit."""
        return all(group.unlimited for group in self._all)

    def ready(self) -> list[int]:
        """Return the descriptors of the groups that have events; the reader may call."""
        return [fd for fd, _ in self._poll.poll(0)]

    def mark_filesystem(self, path: bytes) -> None:
        """Have all events of a filesystem told; see `watcher.fanotify_kernel.Group`."""
        with self._lent(self._common) as group:
            group.mark_filesystem(path)
            self._common = group

    def mark_directory(self, fsid: bytes, path: bytes) -> None:
        """Have events in a directory told; see `watcher.fanotify_kernel.Group`.

        Args:
            fsid: number of its filesystem, or subvolume.
            path: the directory.
        """
        with self._lent(self._of.get(fsid)) as group:
            group.mark_directory(path)
            self._of[fsid] = group

    def keep(self, fsids: Container[bytes]) -> None:
        """Free the groups of all but these filesystems; the others are unmounted."""
        for fsid in [fsid for fsid in self._of if fsid not in fsids]:
            self._free.append(self._of.pop(fsid))

    def marked(self) -> set[tuple[bool, int]]:
        """Return what is marked; see `watcher.fanotify_kernel.Group`."""
        return set().union(*(group.marked() for group in self._all))

    def close(self) -> None:
        """Close all; nobody reads any more."""
        self._poll.close()
        for group in self._all:
            os.close(group.fd)

    @contextlib.contextmanager
    def _lent(self, group: kernel.Group | None) -> Iterator[kernel.Group]:
        """Lend a group, or else one without marks, which stays so when it cannot mark."""
        if group is not None:
            yield group
            return
        spare = self._free.pop() if self._free else self._open()
        try:
            yield spare
        except BaseException:
            self._free.append(spare)
            raise

    def _open(self) -> kernel.Group:
        group = kernel.open_group(modern=self._modern, unlimited=self._wishes_unlimited)
        self._all.append(group)
        self._poll.register(group.fd, select.EPOLLIN)
        return group
