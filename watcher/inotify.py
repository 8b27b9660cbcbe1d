"""Hints from inotify(7): one kernel instance, one reader thread, descriptors that are identities.

A watch descriptor belongs to an inode, so it is tied to a node number and not to a path: moving a
directory changes nothing here. The reader empties the kernel's queue (16,384 events by default)
into a table of places and waits for nobody, because what does not fit into the queue is lost.

`asyncinotify.Inotify` gives the descriptor. Its other half does not serve here: it keeps an object
with a path for every watch, which only its own reader frees (measured: 371 bytes and 9 µs a watch,
against 61 bytes and 5 µs for the bare call), and that reader takes 9-11 µs an event.
"""

import ctypes
import errno
import os
import select
import struct
import threading
from collections.abc import Callable

from asyncinotify import Inotify, Mask

from watcher.backend import ALL, Hints, Place, Sign
from watcher.sysctl import MAX_WATCHES, LimitReachedError, lowest

READ_BYTES = 256 * 1024
"""Size of one read: at least 900 events of the longest names, 8,000 of short ones."""

_MAX_INSTANCES = ("fs.inotify.max_user_instances", "user.max_inotify_instances")
"""The machine's limit, and that of the user namespace, which may be lower."""

_RETRY_MS = 1000
"""Pause after a failed read, so that a broken descriptor makes a slow poll and no busy loop."""

_SIGN_OF_BIT = {
    Mask.CREATE: Sign.CREATED,
    Mask.MODIFY: Sign.WRITING,
    Mask.CLOSE_WRITE: Sign.WRITTEN,
    Mask.ATTRIB: Sign.ATTRIBUTES,
    Mask.DELETE: Sign.DELETED,
    Mask.MOVED_FROM: Sign.MOVED_FROM,
    Mask.MOVED_TO: Sign.MOVED_TO,
    Mask.DELETE_SELF: Sign.SELF,
    Mask.MOVE_SELF: Sign.SELF,
}
_ENDS = {Mask.UNMOUNT: Sign.SELF | Sign.UNMOUNTED, Mask.IGNORED: Sign.SELF}
"""Signs that come unasked, when the kernel gives up a watch."""

# Not among them: OPEN, ACCESS and CLOSE_NOWRITE, which our own listing and hashing would cause.
# Not DONT_FOLLOW: the path is a magic link to a descriptor, which already is the directory itself.
_WATCH_MASK = int(sum(_SIGN_OF_BIT, Mask.ONLYDIR | Mask.EXCL_UNLINK))

# Events that go the short way. The kernel sets one of the bits in an event, and perhaps ISDIR.
_SIGN_OF_MASK = {int(bit) | d: int(s) for bit, s in _SIGN_OF_BIT.items() for d in (0, Mask.ISDIR)}
_SIGN_OF_ANY_BIT = {int(bit): int(sign) for bit, sign in (_SIGN_OF_BIT | _ENDS).items()}

_IGNORED = int(Mask.IGNORED)
_Q_OVERFLOW = int(Mask.Q_OVERFLOW)

_HEADER = struct.Struct("iIII")
"""`struct inotify_event` of inotify(7): wd, mask, cookie, len; then `len` bytes of padded name."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_libc.inotify_rm_watch.argtypes = (ctypes.c_int, ctypes.c_int)

Ignore = Callable[[int, bytes], bool]
"""Says of a directory's number and a name in it whether nobody wants to hear of it."""


def _open_inotify() -> Inotify:
    try:
        inotify = Inotify()
    except OSError as error:
        # EMFILE is also what a process without free descriptors gets; then this fails as well.
        if error.errno == errno.EMFILE:
            os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
            raise LimitReachedError(lowest(_MAX_INSTANCES), "inotify", "instances") from error
        raise
    # asyncinotify 4.4.4 defines its NONBLOCK as O_CLOEXEC, so its descriptor blocks.
    os.set_blocking(inotify.fd, False)
    return inotify


def _sign_of(mask: int) -> int:
    """Return the signs of any mask; bits that this program does not know still mean *look*."""
    signs = 0
    for bit, sign in _SIGN_OF_ANY_BIT.items():
        if mask & bit:
            signs |= sign
    return signs or int(Sign.ATTRIBUTES)


class InotifyBackend:
    """A `watcher.backend.Backend` on one inotify instance.

    Args:
        limit: places held until the observer reads; beyond it they are dropped for an overflow.
        ignore: names to drop in the reader, as those of the server's own database. It is called
            for each event, on the reader's thread, and must neither wait nor raise.

    Raises:
        WatchLimitError: the user has no more inotify instances.
        OSError: inotify cannot be used.
    """

    name = "inotify"

    def __init__(self, *, limit: int = 200_000, ignore: Ignore | None = None) -> None:
        self._limit = limit
        self._ignore = ignore
        self._inotify = _open_inotify()
        self._fd = self._inotify.fd
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Held by calls on the descriptor, so that `close` cannot free its number beneath them.
        self._open = threading.Lock()
        # Guards all below. Never held over a system call: the reader must not wait for the disk.
        self._noticed = threading.Condition(threading.Lock())
        self._wd_of: dict[int, int] = {}
        self._number_of: dict[int, int] = {}
        self._others_of: dict[int, list[int]] = {}
        self._retired: set[int] = set()
        self._retired_before: set[int] = set()
        self._strays: list[tuple[int, int, bytes]] = []
        self._pending: dict[tuple[int, bytes], int] = {}
        self._overflow = False
        self._woken = False
        self._closing = False
        self._failure: Exception | None = None
        self._reader = threading.Thread(target=self._run, name="inotify reader", daemon=True)
        self._reader.start()

    # The observer's side.

    def watch(self, number: int, fd: int) -> bool:
        """Notice what happens in a directory; see `watcher.backend.Backend.watch`."""
        wd = self._add_watch(fd)
        with self._noticed:
            old = self._wd_of.get(number)
            if old == wd:
                return False
            unused = None if old is None else self._detach(number, old)
            self._attach(number, wd)
            self._replay_strays(wd)
        self._remove_watch(unused)
        return True

    def unwatch(self, number: int) -> None:
        """Forget a directory; see `watcher.backend.Backend.unwatch`."""
        with self._noticed:
            wd = self._wd_of.get(number)
            unused = None if wd is None else self._detach(number, wd)
        self._remove_watch(unused)

    def read(self, timeout_seconds: float) -> Hints:
        """Wait for hints; see `watcher.backend.Backend.read`.

        Raises:
            RuntimeError: the reader thread has failed; nothing will be noticed any more.
        """
        with self._noticed:
            self._noticed.wait_for(self._has_news, timeout_seconds)
            pending, self._pending = self._pending, {}
            overflow, self._overflow = self._overflow or self._has_lost_strays(), False
            self._strays.clear()
            self._woken = False
            failure = self._failure
        if failure is not None:
            raise RuntimeError(f"inotify: the reader has failed: {failure!r}") from failure
        return Hints({Place(*at): ALL[sign] for at, sign in pending.items()}, overflow)

    def wake(self) -> None:
        """Make a waiting `read`, or the next one, return at once."""
        with self._noticed:
            self._woken = True
            self._noticed.notify_all()

    def watches(self) -> int:
        """Return how many directories are watched."""
        return len(self._wd_of)

    def close(self) -> None:
        """End the reader and give all watches back; a second call does nothing."""
        with self._open:
            if self._closing:
                return
            self._closing = True
        os.eventfd_write(self._stop, 1)
        self._reader.join()
        self.wake()
        with self._open:
            self._inotify.close()
            os.close(self._stop)

    def _has_news(self) -> bool:
        return bool(
            self._pending
            or self._overflow
            or self._woken
            or self._closing
            or self._failure
            or self._has_lost_strays()
        )

    def _has_lost_strays(self) -> bool:
        """Whether something came from a descriptor that no directory has.

        `watch` and `read` are called by one thread, so no `watch` is under way that would
        attach it. The late end of a watch that is gone is no loss.
        """
        return any(not mask & _IGNORED for _, mask, _ in self._strays)

    # Descriptors and numbers.

    def _add_watch(self, fd: int) -> int:
        with self._open:
            if self._closing:
                raise OSError(errno.EBADF, "inotify: the backend is closed")
            path = b"/proc/self/fd/%d" % fd
            wd: int = _libc.inotify_add_watch(self._fd, path, _WATCH_MASK)
            code = ctypes.get_errno()
        if wd >= 0:
            return wd
        if code == errno.ENOSPC:
            raise LimitReachedError(lowest(MAX_WATCHES), "inotify", "watches")
        raise OSError(code, f"inotify cannot watch this directory: {os.strerror(code)}")

    def _remove_watch(self, wd: int | None) -> None:
        """Give a watch back; an error means that the kernel did so first."""
        if wd is None:
            return
        with self._open:
            if not self._closing:
                _libc.inotify_rm_watch(self._fd, wd)

    def _attach(self, number: int, wd: int) -> None:
        self._wd_of[number] = wd
        if wd in self._number_of:
            # One inode at two places in the tree, as with a bind mount: the kernel has one watch.
            self._others_of.setdefault(wd, []).append(number)
        else:
            self._number_of[wd] = number

    def _detach(self, number: int, wd: int) -> int | None:
        """Part a number from its descriptor, and return the descriptor if nothing needs it."""
        del self._wd_of[number]
        remaining = [other for other in self._numbers_of(wd) if other != number]
        self._forget(wd)
        if remaining:
            self._number_of[wd] = remaining[0]
        if remaining[1:]:
            self._others_of[wd] = remaining[1:]
        if remaining:
            return None
        self._retired.add(wd)
        return wd

    def _numbers_of(self, wd: int) -> list[int]:
        first = self._number_of.get(wd)
        return [] if first is None else [first, *self._others_of.get(wd, ())]

    def _forget(self, wd: int) -> None:
        self._number_of.pop(wd, None)
        self._others_of.pop(wd, None)

    def _replay_strays(self, wd: int) -> None:
        """Take the events that were read before `watch` could say whose descriptor it is."""
        mine = [stray for stray in self._strays if stray[0] == wd]
        if mine:
            self._strays = [stray for stray in self._strays if stray[0] != wd]
        for _, mask, name in mine:
            self._take_slowly(wd, mask, name)

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
        ready.register(self._fd, select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        while not self._closing:
            ready.poll()
            self._drain(buffer)

    def _drain(self, buffer: bytearray) -> None:
        while not self._closing:
            try:
                count = os.readv(self._fd, [buffer])
            except BlockingIOError:
                return self._age_retired()
            except OSError:
                return self._lose_and_pause()
            self._take(bytes(memoryview(buffer)[:count]))
        return None

    def _lose_and_pause(self) -> None:
        """What a failed read would have said is unknown, so everything must be looked at."""
        with self._noticed:
            self._lose()
            self._noticed.notify_all()
        stopped = select.poll()
        stopped.register(self._stop, select.POLLIN)
        stopped.poll(_RETRY_MS)

    def _age_retired(self) -> None:
        """Forget retired descriptors once the queue has been empty after their removal.

        The queue keeps order, so nothing of them can come any more. Waiting for their IN_IGNORED
        instead would keep them for ever if the queue overflowed meanwhile.
        """
        with self._noticed:
            self._retired_before.clear()
            self._retired_before, self._retired = self._retired, self._retired_before

    def _take(self, data: bytes) -> None:
        with self._noticed:
            self._fold(data)
            if len(self._pending) > self._limit or len(self._strays) > self._limit:
                self._lose()
            if self._has_news():
                self._noticed.notify_all()

    def _fold(self, data: bytes) -> None:
        """Put events into the table of places: the hot loop, with everything in local names."""
        pending, number_of, others_of = self._pending, self._number_of, self._others_of
        unpack, sign_of, ignore = _HEADER.unpack_from, _SIGN_OF_MASK.get, self._ignore
        end, size = 0, len(data)
        while end < size:
            wd, mask, _cookie, length = unpack(data, end)
            start = end + 16
            end = start + length
            name = data[start:end].rstrip(b"\0")
            number, sign = number_of.get(wd), sign_of(mask)
            if number is None or sign is None or wd in others_of:
                self._take_slowly(wd, mask, name)
            elif ignore is None or not ignore(number, name):
                at = (number, name)
                pending[at] = pending.get(at, 0) | sign

    def _take_slowly(self, wd: int, mask: int, name: bytes) -> None:
        """Take an event that is not a plain one of a descriptor with one number."""
        numbers = self._numbers_of(wd)
        if mask & _Q_OVERFLOW:
            self._lose()
        elif not numbers and wd not in self._retired and wd not in self._retired_before:
            self._strays.append((wd, mask, name))
        for number in numbers:
            self._note(number, name, mask)
        if mask & _IGNORED:
            self._end(wd, numbers)

    def _note(self, number: int, name: bytes, mask: int) -> None:
        if self._ignore is None or not self._ignore(number, name):
            at = (number, name)
            self._pending[at] = self._pending.get(at, 0) | _sign_of(mask)

    def _end(self, wd: int, numbers: list[int]) -> None:
        """The kernel has given a watch up. A number that has a newer one keeps that one."""
        self._forget(wd)
        for number in numbers:
            del self._wd_of[number]

    def _lose(self) -> None:
        # The dictionary is emptied in place, because `_fold` goes on with it.
        self._pending.clear()
        self._strays.clear()
        self._overflow = True
