"""What the tests of the log and its folds share."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from eventlog.check import check
from eventlog.connection import open_reader
from eventlog.events import Content, Created, State
from eventlog.log import Draft, Log
from projections.replay import FOLDS, compare

START_US = 1_700_000_000_000_000
"""Some time in 2023."""

DEADLINE_SECONDS = 60.0
"""Far more than anything needs, so that a slow machine fails no test."""


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.us = START_US
        self.seconds = 0.0

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.seconds


def file_state(name: bytes = b"file", parent: int = 1, ino: int = 100, size: int = 0) -> State:
    return State(
        parent=parent,
        name=name,
        mode=stat.S_IFREG | 0o644,
        size=size,
        mtime_ns=1,
        ctime_ns=2,
        fs=7,
        ino=ino,
        uid=1000,
        gid=1000,
        nlink=1,
        content=Content.PENDING,
    )


def directory_state(name: bytes = b"dir", parent: int = 1, ino: int = 50) -> State:
    return State(
        parent=parent,
        name=name,
        mode=stat.S_IFDIR | 0o755,
        size=0,
        mtime_ns=1,
        ctime_ns=2,
        fs=7,
        ino=ino,
        uid=0,
        gid=0,
        nlink=0,
    )


def root_state(name: bytes = b"root", target: bytes = b"/srv/root", ino: int = 2) -> State:
    return State(
        parent=0,
        name=name,
        mode=stat.S_IFDIR | 0o755,
        size=0,
        mtime_ns=1,
        ctime_ns=2,
        fs=7,
        ino=ino,
        uid=0,
        gid=0,
        nlink=0,
        target=target,
    )


def created(state: State) -> Draft:
    return Draft(0, Created(author="", state=state))


def files(count: int, prefix: str = "f") -> list[Draft]:
    return [created(file_state(f"{prefix}{n}".encode(), ino=1000 + n)) for n in range(count)]


def assert_sound(path: Path) -> None:
    """Check a whole database: the file, every record, and every projection."""
    reader = open_reader(str(path))
    try:
        assert list(check(reader)) == []
        assert compare(reader).differences == []
    finally:
        reader.close()


@contextmanager
def sound_log(path: Path, clock: FakeClock | None = None) -> Iterator[Log]:
    """Open a log with all projections, and check everything at the end."""
    log = Log(str(path), FOLDS, clock=clock)
    try:
        yield log
    finally:
        log.close()
    assert log.failure is None
    assert_sound(path)


def positions(connection: apsw.Connection) -> list[int]:
    return [row[0] for row in connection.execute("select position from events order by position")]
