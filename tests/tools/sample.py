"""A log to read: what a short life of a directory leaves behind, and a clock for it."""

import stat
from pathlib import Path

from eventlog.events import Content, Created, Described, Modified, Moved, Reason, Removed, State
from eventlog.log import Draft, Log
from projections.replay import FOLDS

DAY_US = 86_400_000_000
START_US = 1_772_625_600_000_000
"""2026-03-04T12:00:00Z"""


class StepClock:
    """A day later each time it is asked: each transaction asks once."""

    def __init__(self) -> None:
        self.us = START_US - DAY_US

    def now_us(self) -> int:
        self.us += DAY_US
        return self.us

    def monotonic(self) -> float:
        return 0.0


def state(parent: int, name: bytes, mode: int = stat.S_IFREG | 0o644, **more: object) -> State:
    fields: dict[str, object] = {"size": 0, "mtime_ns": 1, "ctime_ns": 2, "fs": 7, "ino": 9}
    return State(parent=parent, name=name, mode=mode, uid=0, gid=0, nlink=1, **fields | more)  # type: ignore[arg-type]  # tests need but a few


def directory(parent: int, name: bytes, **more: object) -> State:
    return state(parent, name, stat.S_IFDIR | 0o755, **more)


STEPS: list[Draft] = [
    Draft(0, Created("", directory(0, b"media", target=b"/mnt/media"))),  # 1
    Draft(0, Created("", directory(1, b"old"))),  # 2
    Draft(0, Created("", state(2, b"a.txt", size=1536))),  # 3
    Draft(
        3,
        Described("", state(2, b"a.txt", size=1536, hash=bytes(16), content=Content.DONE), "a\nb"),
    ),  # 4
    Draft(2, Moved("smb:ann", directory(1, b"new"), 1, b"old")),  # 5
    Draft(3, Moved("", state(1, b"b.txt", size=1536), 2, b"a.txt")),  # 6
    Draft(0, Created("", state(1, b"caf\xe9", stat.S_IFLNK | 0o777, target=b"x\n"))),  # 7
    Draft(3, Modified("", state(1, b"b.txt", size=7))),  # 8
    Draft(3, Removed("", Reason.DELETED, 1, b"b.txt", stat.S_IFREG | 0o644)),  # 9
    Draft(2, Removed("", Reason.MOVED_OUT, 1, b"new", stat.S_IFDIR | 0o755)),  # 10
]


def write(database: Path) -> None:
    """Make the log: one event a day from `START_US` on."""
    log = Log(str(database), FOLDS, clock=StepClock())
    for step in STEPS:
        log.append([step])
    log.close()
