"""Describes one file, inside a worker. Each part that fails costs only itself.

The order matters: what may kill the process comes before what takes long, so that a hostile file
of 100 GB is hashed once, not once an attempt.
"""

import errno
import os
import signal

from watcher.metadata.blackbox import BlackBox
from watcher.metadata.brake import Brake
from watcher.metadata.hashing import LengthError, Reader
from watcher.metadata.media import NOTHING, Media, MediaError, media_of, wants_media
from watcher.metadata.mime import EMPTY, MimeError, MimeTypes
from watcher.metadata.opening import ChangedError, is_same, open_same
from watcher.metadata.task import Limits, Outcome, Status, Task, without_result
from watcher.metadata.wire import Stage, Work

_DISK_ERRORS = frozenset(
    {errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOMEDIUM, errno.EREMOTEIO, errno.ENOTCONN}
    | {errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ESHUTDOWN, errno.ECONNABORTED}
)
"""What a disk, a FUSE filesystem or a network share says that has gone, as of any of its files."""


class Prober:
    """Describes files one after another.

    Args:
        box: where to note what is done.
        types: knows MIME types.
        limits: how long the libraries may take, and how fast it may read.
    """

    def __init__(self, box: BlackBox, types: MimeTypes, limits: Limits) -> None:
        self._box = box
        self._types = types
        self._seconds = limits.parse_seconds
        self._reader = Reader(Brake(limits.bytes_per_second))
        self._problems: list[str] = []
        self._disk_failed = False

    def probe(self, work: Work) -> Outcome:
        """Describe a file.

        Args:
            work: which, and which stages to leave out.

        Returns:
            What was found out. Nothing about the file itself makes this raise; a library may
            kill the process, though.
        """
        self._box.start()
        self._problems = [work.problem] if work.problem else []
        self._disk_failed = False
        outcome = self._probe(work)
        self._box.enter(Stage.IDLE)
        return outcome

    def _probe(self, work: Work) -> Outcome:
        try:
            fd = open_same(work.task)
        except ChangedError:
            return without_result(work.task, Status.CHANGED)
        except OSError as error:
            return _unread(work.task, "cannot be opened", error)
        try:
            return self._describe(fd, work)
        finally:
            os.close(fd)

    def _describe(self, fd: int, work: Work) -> Outcome:
        task = work.task
        try:
            self._reader.begin(fd)
        except OSError as error:
            return _unread(task, "cannot be read", error)
        mime = self._mime(fd, work)
        media = self._media(fd, mime, work)
        digest = self._hash(fd, task)
        try:
            if not self._disk_failed and not is_same(task, os.fstat(fd)):
                return without_result(task, Status.CHANGED)
        except OSError as error:
            return _unread(task, "cannot be looked at", error)
        return Outcome(
            number=task.number,
            status=self._status(),
            ino=task.ino,
            size=task.size,
            mtime_ns=task.mtime_ns,
            ctime_ns=task.ctime_ns,
            hash=digest,
            mime=mime,
            width=media.width,
            height=media.height,
            duration_ms=media.duration_ms,
            problem="; ".join(self._problems),
        )

    def _status(self) -> Status:
        if self._disk_failed:
            return Status.UNREADABLE
        return Status.FAILED if self._problems else Status.DONE

    def _mime(self, fd: int, work: Work) -> str:
        if not work.task.size:
            return EMPTY
        if work.last_stage < Stage.TYPE:
            return ""
        self._set_alarm(Stage.TYPE)
        try:
            return self._types.of(fd)
        except (MimeError, OSError, MemoryError) as error:
            self._note("type unknown", error)
            return ""
        finally:
            self._clear_alarm()

    def _media(self, fd: int, mime: str, work: Work) -> Media:
        if work.last_stage < Stage.MEDIA or not wants_media(mime):
            return NOTHING
        self._set_alarm(Stage.MEDIA)
        try:
            return media_of(fd, mime)
        except (MediaError, OSError, MemoryError) as error:
            self._note("dimensions unknown", error)
            return NOTHING
        finally:
            self._clear_alarm()

    def _hash(self, fd: int, task: Task) -> bytes:
        if not task.want_hash:
            return b""
        try:
            return self._reader.md5(fd, task.size)
        except (LengthError, OSError) as error:
            self._note("not hashed", error)
            return b""

    def _note(self, what: str, error: BaseException) -> None:
        self._problems.append(f"{what}: {_reason(error)}")
        self._disk_failed |= _is_of_disk(error)

    def _set_alarm(self, stage: Stage) -> None:
        """Have the kernel end this process if a library does not come back in time.

        SIGALRM keeps its default action: a Python handler would only run after the library's
        code has returned, which is what may never happen.
        """
        self._box.enter(stage)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def _clear_alarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._box.enter(Stage.READING)


def _unread(task: Task, what: str, error: OSError) -> Outcome:
    status = Status.UNREADABLE if _is_of_disk(error) else Status.FAILED
    return without_result(task, status, f"{what}: {_reason(error)}")


def _is_of_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK_ERRORS


def _reason(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "it takes more memory than a worker may have"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())
