"""Hints from fanotify(7): a mark on a whole filesystem, and handles that are identities.

Setting up costs one mark, however large the tree is: `watch` only remembers which node number the
handle of a directory has. A handle stays the directory's wherever it is moved to, and no later
directory gets it. It is never opened, so none of that needs the right to do so.

The mark tells of the whole filesystem. What is not in a watched directory is dropped by one look
into a table, before anything else is done with it.

Where the filesystem cannot be marked, each directory is: in a btrfs subvolume whose top level is
mounted nowhere, on overlayfs, and without the rights of root.
"""

import contextlib
import errno
import os
import select
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from eventlog.clock import Clock, SystemClock
from watcher import fanotify_kernel as kernel
from watcher.backend import ALL, Hints, Place, Sign, WatchLimitError
from watcher.fanotify_events import Places
from watcher.fanotify_groups import Groups
from watcher.mounts import Mount, MountTable
from watcher.pace import Pace

READ_BYTES: Final = 256 * 1024
"""Size of one read: some 800 events of the longest names, 3,000 of short ones."""

_FSID_BYTES: Final = 8
"""Of a filesystem's number, with which keys begin."""

_RETRY_SECONDS: Final = 1.0
"""Pause after a failed read, so that a broken descriptor makes a slow poll and no busy loop."""

_NOT_WHOLE: Final = (errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL)
"""Why a filesystem cannot be marked although its directories perhaps can."""


class UnwatchableError(WatchLimitError):
    """A filesystem tells nothing; the message names it. What is on it must be polled."""


class _Filesystem(NamedTuple):
    """A filesystem that is mounted somewhere in the root, or a subvolume of one.

    Attributes:
        fsid: how events name it.
        whole: whether all of it is marked, or each directory.
        device: its number in mountinfo.
    """

    fsid: bytes
    whole: bool
    device: int


class FanotifyBackend:
    """A `watcher.backend.Backend` on fanotify.

    Args:
        limit: places held until the observer reads; beyond it they are dropped for an overflow.
        modern: use what came with Linux 5.17: targets, and renames as one event.
        whole: mark whole filesystems where that is possible; else each directory.
        unlimited: have a queue without limit, where that is allowed.
        clock: time.

    Raises:
        WatchLimitError: the user has no more groups.
        OSError: fanotify cannot be used; see `watcher.fanotify_kernel.open_group`.
    """

    name = "fanotify"

    def __init__(
        self,
        *,
        limit: int = 200_000,
        modern: bool = True,
        whole: bool = True,
        unlimited: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._limit = limit
        self._clock = clock or SystemClock()
        self._whole = whole
        self._groups = Groups(modern=modern, unlimited=unlimited)
        self._handles = kernel.HandleReader()
        # Two tables: each open file is told once of a change, and two threads want to know.
        self._mounts = MountTable()
        self._mounts_of_reader = MountTable()
        self._filesystems: dict[int, _Filesystem] = {}
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Held by calls on the descriptor, so that `close` cannot free its number beneath them.
        self._open = threading.Lock()
        # Guards all below. Never held over a system call: the reader must not wait for the disk.
        self._noticed = threading.Condition(threading.Lock())
        self._places = Places()
        self._key_of: dict[int, bytes] = {}
        self._marked: dict[bytes, _Filesystem] = {}
        self._made = 0
        self._overflow = False
        self._woken = False
        self._closing = False
        self._failure: Exception | None = None
        self._reader = threading.Thread(target=self._run, name="fanotify reader", daemon=True)
        self._reader.start()

    # The observer's side.

    @property
    def is_whole(self) -> bool:
        """Whether every filesystem that was met is marked as a whole."""
        return all(filesystem.whole for filesystem in self._filesystems.values())

    @property
    def is_unlimited(self) -> bool:
        """Whether neither marks nor queue have a limit."""
        return self._groups.unlimited

    def watch(self, number: int, fd: int) -> bool:
        """Notice what happens in a directory; see `watcher.backend.Backend.watch`.

        Raises:
            UnwatchableError: its filesystem tells nothing.
        """
        with self._open:
            if self._closing:
                raise OSError(errno.EBADF, "fanotify: the backend is closed")
            key = self._mark(fd)
        with self._noticed:
            old = self._key_of.get(number)
            if old == key:
                return False
            if old is not None:
                self._detach(number, old)
            self._attach(number, key)
        return True

    def unwatch(self, number: int) -> None:
        """Forget a directory; see `watcher.backend.Backend.unwatch`."""
        with self._noticed:
            key = self._key_of.get(number)
            if key is not None:
                self._detach(number, key)

    def foresee(self) -> Mapping[int, bytes] | None:
        """Keep what happens anywhere on marked filesystems; see `watcher.backend.Foresighted`."""
        if not self.is_whole:
            return None
        with self._noticed:
            self._places.heed_strangers(heed=True)
        return {mount_id: found.fsid for mount_id, found in self._filesystems.items()}

    def watch_listed(self, numbers: Sequence[int], keys: Sequence[bytes]) -> None:
        """Watch directories that were listed; see `watcher.backend.Foresighted`."""
        with self._noticed:
            for number, key in zip(numbers, keys, strict=True):
                old = self._key_of.get(number)
                if old == key:
                    continue
                if old is not None:
                    self._detach(number, old)
                self._attach(number, key)
                self._places.recognize(key, number)
                if key[:_FSID_BYTES] not in self._marked:  # it was unmounted meanwhile
                    self._end_one(number, key)

    def forget_strangers(self) -> None:
        """Drop again what happens in other directories; see `watcher.backend.Foresighted`."""
        with self._noticed:
            self._places.heed_strangers(heed=False)

    def read(self, timeout_seconds: float) -> Hints:
        """Wait for hints; see `watcher.backend.Backend.read`.

        Raises:
            RuntimeError: the reader thread has failed; nothing will be noticed any more.
        """
        with self._noticed:
            self._noticed.wait_for(self._has_news, timeout_seconds)
            pending, self._places.pending = self._places.pending, {}
            overflow, self._overflow = self._overflow, False
            self._woken = False
            failure = self._failure
        if failure is not None:
            raise RuntimeError(f"fanotify: the reader has failed: {failure!r}") from failure
        return Hints({Place(*at): ALL[sign] for at, sign in pending.items()}, overflow)

    def wake(self) -> None:
        """Make a waiting `read`, or the next one, return at once."""
        with self._noticed:
            self._woken = True
            self._noticed.notify_all()

    def watches(self) -> int:
        """Return how many directories are watched."""
        return len(self._key_of)

    def close(self) -> None:
        """End the reader and give everything back; a second call does nothing."""
        with self._open:
            if self._closing:
                return
            self._closing = True
        os.eventfd_write(self._stop, 1)
        self._reader.join()
        self.wake()
        with self._open:
            self._groups.close()
            os.close(self._stop)
            self._mounts.close()
            self._mounts_of_reader.close()

    def _has_news(self) -> bool:
        return bool(
            self._places.pending or self._overflow or self._woken or self._closing or self._failure
        )

    # Marks.

    def _mark(self, fd: int) -> bytes:
        """Have events in a directory told, and return what they name it by."""
        try:
            mount_id, handle = self._handles.read(fd)
            filesystem = self._filesystem(mount_id, fd)
            if not filesystem.whole:
                return self._mark_directory(filesystem, fd) + handle
        except OSError as error:
            raise self._unwatchable(fd, error) from error
        return filesystem.fsid + handle

    def _mark_directory(self, filesystem: _Filesystem, fd: int) -> bytes:
        """Mark a directory, and return how events name its filesystem, or its subvolume."""
        fsid = kernel.filesystem_id(fd)
        self._groups.mark_directory(fsid, _path(fd))
        self._remember(filesystem._replace(fsid=fsid))
        return fsid

    def _filesystem(self, mount_id: int, fd: int) -> _Filesystem:
        """Return the filesystem of a mount, marked."""
        if self._mounts.touched():
            # Numbers of mounts are used again, and a mark does not survive an unmount.
            self._filesystems.clear()
            self._check_marks(self._mounts)
            with self._noticed:
                self._groups.keep(self._marked)
        found = self._filesystems.get(mount_id)
        if found is None:
            mount = self._mounts.holding(fd)
            if mount is None:
                raise OSError(errno.ENODEV, "its mount is not in /proc/self/mountinfo")
            found = self._filesystems[mount_id] = self._mark_filesystem(mount, fd)
            if found.whole:
                self._remember(found)
        return found

    def _remember(self, marked: _Filesystem) -> None:
        """Note a mark that was made, to be asked for whenever something is unmounted."""
        with self._noticed:
            if marked.fsid not in self._marked:
                self._marked[marked.fsid] = marked
                self._made += 1

    def _mark_filesystem(self, mount: Mount, fd: int) -> _Filesystem:
        whole = self._whole and self._mark_whole(fd)
        if not whole and self._whole:
            # Only its top level stands for all subvolumes of btrfs.
            for top in self._mounts.tops(mount.device):
                with _opened(top) as top_fd:
                    if self._mounts.holding(top_fd) == top and self._mark_whole(top_fd):
                        return _Filesystem(
                            kernel.filesystem_id(top_fd), whole=True, device=mount.device
                        )
        return _Filesystem(kernel.filesystem_id(fd), whole, mount.device)

    def _mark_whole(self, fd: int) -> bool:
        try:
            self._groups.mark_filesystem(_path(fd))
        except OSError as error:
            if error.errno in _NOT_WHOLE:
                return False
            raise
        return True

    def _unwatchable(self, fd: int, error: OSError) -> OSError | WatchLimitError:
        """Tell what a filesystem does not offer from a disk that is in trouble."""
        if error.errno not in _NOT_WHOLE:
            return error
        mount = self._mounts.holding(fd)
        kind, point = (mount.fs_type, mount.point) if mount else ("a filesystem", b"?")
        return UnwatchableError(
            f"fanotify: {kind} at {os.fsdecode(point)} does not tell of changes "
            f"({os.strerror(error.errno)}), so it is only compared from time to time"
        )

    # Handles and numbers.

    def _attach(self, number: int, key: bytes) -> None:
        self._key_of[number] = key
        if key in self._places.numbers:
            self._places.others.setdefault(key, []).append(number)
        else:
            self._places.numbers[key] = number

    def _detach(self, number: int, key: bytes) -> None:
        del self._key_of[number]
        numbers, others = self._places.numbers, self._places.others
        remaining = [n for n in (numbers.pop(key), *others.pop(key, ())) if n != number]
        if remaining:
            numbers[key] = remaining[0]
        if remaining[1:]:
            others[key] = remaining[1:]

    # The reader's side.

    def _run(self) -> None:
        try:
            self._read_until_closed()
        except Exception as error:  # noqa: BLE001 - handed to the observer, whose `read` raises it
            with self._noticed:
                self._failure = error
                self._noticed.notify_all()

    def _read_until_closed(self) -> None:
        buffer = bytearray(READ_BYTES)
        ready = select.poll()
        ready.register(self._groups.fd, select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        ready.register(self._mounts_of_reader.fd, select.POLLPRI)
        pace = Pace(self._clock.monotonic())
        while not self._closing:
            told = {fd for fd, _ in ready.poll()}
            if (seconds := pace.wait_seconds(self._clock.monotonic())) > 0:
                self._pause(seconds)
            for group_fd in self._groups.ready():
                self._drain(group_fd, buffer)
            if self._mounts_of_reader.fd in told and not self._closing:
                self._check_marks(self._mounts_of_reader)

    def _drain(self, fd: int, buffer: bytearray) -> None:
        # The kernel does not show an error that comes after some events: the next read does.
        while not self._closing:
            try:
                count = os.readv(fd, [buffer])
            except BlockingIOError:
                return
            except OSError:
                self._lose_and_pause()
                return
            self._take(bytes(memoryview(buffer)[:count]))

    def _lose_and_pause(self) -> None:
        """What a failed read would have said is unknown, so everything must be looked at."""
        with self._noticed:
            self._lose()
            self._noticed.notify_all()
        self._pause(_RETRY_SECONDS)

    def _pause(self, seconds: float) -> None:
        stopped = select.poll()
        stopped.register(self._stop, select.POLLIN)
        stopped.poll(seconds * 1000)

    def _take(self, data: bytes) -> None:
        with self._noticed:
            lost = self._places.fold(data)
            if lost or max(len(self._places.pending), self._places.strange) > self._limit:
                self._lose()
            if self._has_news():
                self._noticed.notify_all()

    def _lose(self) -> None:
        self._places.pending.clear()
        self._places.heed_strangers(heed=self._places.strangers is not None)
        self._overflow = True

    def _check_marks(self, mounts: MountTable) -> None:
        """Find out which filesystems were unmounted: their marks went with them, and silently.

        The table changes before the mark goes; the mark is gone before the table can change back.
        """
        while not self._end_gone(self._made, self._groups.marked(), mounts.devices()):
            pass  # a mark was made meanwhile, so what was read may be too old

    def _end_gone(self, made: int, marked: set[tuple[bool, int]], mounted: set[int]) -> bool:
        with self._noticed:
            if made != self._made:
                return False
            for found in list(self._marked.values()):
                if (found.whole, found.device) not in marked or found.device not in mounted:
                    del self._marked[found.fsid]
                    self._end(found)
            self._noticed.notify_all()
        return True

    def _end(self, filesystem: _Filesystem) -> None:
        ended = [(n, key) for n, key in self._key_of.items() if key.startswith(filesystem.fsid)]
        for number, key in ended:
            self._end_one(number, key)

    def _end_one(self, number: int, key: bytes) -> None:
        place = (number, b"")
        pending = self._places.pending
        pending[place] = pending.get(place, 0) | Sign.SELF | Sign.UNMOUNTED
        self._detach(number, key)


def _path(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


@contextlib.contextmanager
def _opened(mount: Mount) -> Iterator[int]:
    fd = os.open(mount.point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
