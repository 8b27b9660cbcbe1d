"""What the describer asks of the pool, and what it gets back."""

from enum import IntEnum

import msgspec


class Task(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One version of one file, to be described.

    Attributes:
        number: the caller's number for it; comes back in the outcome, means nothing here.
        path: absolute; raw bytes.
        ino, size, mtime_ns, ctime_ns: what `lstat` said of the version that is meant (bytes;
            nanoseconds since 1970 UTC).
        want_hash: whether to hash it, and so to read it wholly.
    """

    number: int
    path: bytes
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    want_hash: bool


class Status(IntEnum):
    """How a task ended."""

    DONE = 0
    """Everything asked for was computed."""
    CHANGED = 1
    """The path does not, or no longer, lead to the version of the task; nothing was kept."""
    FAILED = 2
    """Some part could not be computed, see `problem`; what could be is there."""
    UNREADABLE = 3
    """The disk failed, see `problem`: it may be the whole disk. What could be computed is there."""


class Outcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was found out about a file.

    Attributes:
        number: as in the task.
        status: how it ended.
        ino, size, mtime_ns, ctime_ns: of the file that was read; of the task if none was.
        hash: MD5, 16 raw bytes, or empty.
        mime: as `file --mime-type` says, or "".
        width, height: pixels, of images and videos.
        duration_ms: milliseconds, of videos.
        problem: one line for the operator, or "". It does not name the file.
    """

    number: int
    status: Status
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int
    hash: bytes = b""
    mime: str = ""
    width: int = 0
    height: int = 0
    duration_ms: int = 0
    problem: str = ""


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """What a worker process may use before it is ended.

    Attributes:
        parse_seconds: the longest that the libraries may look at one file. Hashing has no limit:
            it takes as long as the disk needs.
        memory_bytes: address space beyond what the worker has at its start.
        bytes_per_second: the greatest rate at which it reads files; 0: any.
    """

    parse_seconds: float = 20.0
    memory_bytes: int = 512 << 20
    bytes_per_second: float = 0


def without_result(task: Task, status: Status, problem: str = "") -> Outcome:
    """Return the outcome of a task of which nothing was computed."""
    return Outcome(
        number=task.number,
        status=status,
        ino=task.ino,
        size=task.size,
        mtime_ns=task.mtime_ns,
        ctime_ns=task.ctime_ns,
        problem=problem,
    )
