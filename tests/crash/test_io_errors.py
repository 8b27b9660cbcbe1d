"""The disk fails at the n-th call: nothing told is missing, and the log says so and stops."""

from functools import partial
from pathlib import Path

import apsw
import pytest

from eventlog.connection import WRITER_PRAGMAS, open_writer
from eventlog.errors import LogError, LogFullError
from eventlog.log import Log
from projections.replay import FOLDS
from tests.crash.disk import Disk, Op, Sync, Truncate, Write, restore, seeded
from tests.crash.verify import Verdict, verify
from tests.crash.vfs import WatchedVfs
from tests.crash.workload import Workload
from tests.eventlog.helpers import assert_sound, files

GROUPS = 8
PRAGMAS = {**WRITER_PRAGMAS, "wal_autocheckpoint": 20}


class Trouble:
    """Fails one operation, and keeps the disk as it then is.

    Args:
        kind: which operations to count.
        at: the number of the one that fails, from 1.
        code: SQLite's code of the failure.
    """

    def __init__(self, kind: type[Op], at: int, code: int) -> None:
        self.disk = Disk()
        self.hit = False
        self._kind = kind
        self._left = at
        self._code = code

    def __call__(self, op: Op) -> None:
        self._left -= isinstance(op, self._kind)
        if self._left or self.hit:
            self.disk.apply(op)
            return
        self.hit = True
        if isinstance(op, Sync):
            self.disk.files[op.name].fail_sync(seeded(self._left))
        raise failure(self._code)


def failure(code: int) -> Exception:
    """Return the error of SQLite for a code, with a text as SQLite gives it."""
    error = apsw.exception_for(code)
    error.args = ("disk I/O error",)
    return error


def run(path: Path, trouble: Trouble) -> LogError | None:
    """Run the workload until it ends or fails, with one start and one restart."""
    vfs = WatchedVfs(trouble)
    connect = partial(open_writer, vfs=vfs.vfs_name, pragmas=PRAGMAS)
    workload = Workload(trouble.disk.apply, seeded(1))
    try:
        for _ in range(2):
            workload.run(path, connect, GROUPS)
    except LogError as error:
        return error
    finally:
        vfs.unregister()
    return None


def calls(folder: Path, kind: type[Op]) -> int:
    """Return how often a run without trouble calls the disk for something."""
    ops: list[Op] = []
    vfs = WatchedVfs(ops.append)
    workload = Workload(ops.append, seeded(1))
    for _ in range(2):
        workload.run(
            folder / "calm.db", partial(open_writer, vfs=vfs.vfs_name, pragmas=PRAGMAS), GROUPS
        )
    vfs.unregister()
    return sum(isinstance(op, kind) for op in ops)


def points(folder: Path, kind: type[Op], most: int) -> list[int]:
    count = calls(folder, kind)
    return sorted({1 + n * count // most for n in range(most)})


FAILURES = [
    (Write, apsw.SQLITE_IOERR_WRITE, 50),
    (Write, apsw.SQLITE_FULL, 40),
    (Sync, apsw.SQLITE_IOERR_FSYNC, 40),
    (Truncate, apsw.SQLITE_IOERR_TRUNCATE, 10),
]
IDS = ["write-eio", "write-enospc", "sync-eio", "truncate-eio"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code", "most"), FAILURES, ids=IDS)
def test_a_failing_disk_loses_nothing_told(
    folder: Path, kind: type[Op], code: int, most: int
) -> None:
    failed = 0
    for at in points(folder, kind, most):
        restore({}, folder)
        trouble = Trouble(kind, at, code)
        error = run(folder / "log.db", trouble)
        assert trouble.hit
        failed += error is not None
        assert error is None or "\n" not in str(error)
        assert verify(folder / "log.db", trouble.disk) == Verdict(), f"call {at}, {error}"
        restore(trouble.disk.after_cut(seeded(at)), folder)
        assert verify(folder / "log.db", trouble.disk) == Verdict(), f"call {at} and a power cut"
    assert failed > 0


class Switch:
    """Fails every operation of a kind once it is thrown."""

    def __init__(self, kind: type[Op], code: int) -> None:
        self.thrown = False
        self._kind = kind
        self._code = code

    def __call__(self, op: Op) -> None:
        if self.thrown and isinstance(op, self._kind):
            raise failure(self._code)


def open_log(path: Path, vfs: WatchedVfs) -> Log:
    return Log(str(path), FOLDS, connect=partial(open_writer, vfs=vfs.vfs_name))


@pytest.mark.parametrize(
    ("kind", "code"), [(Sync, apsw.SQLITE_IOERR_FSYNC), (Write, apsw.SQLITE_IOERR_WRITE)]
)
def test_after_an_io_error_the_log_refuses_though_the_disk_is_well_again(
    tmp_path: Path, kind: type[Op], code: int
) -> None:
    path, switch = tmp_path / "log.db", Switch(kind, code)
    vfs = WatchedVfs(switch)
    log = open_log(path, vfs)
    assert log.append(files(3)) == 1
    count = log.wakeup.count()
    switch.thrown = True
    with pytest.raises(LogError, match="disk I/O error; look for errors of the disk") as error:
        log.append(files(1))
    assert str(error.value).startswith(f"{path}: ")
    switch.thrown = False
    with pytest.raises(LogError, match="stopped: what follows may not last") as error:
        log.append(files(1))
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    log.close()
    assert (log.failure, log.head) == (error.value, 3)
    assert log.wakeup.count() == count + 1
    vfs.unregister()


def test_after_a_full_disk_the_log_goes_on(tmp_path: Path) -> None:
    path, switch = tmp_path / "log.db", Switch(Write, apsw.SQLITE_FULL)
    vfs = WatchedVfs(switch)
    log = open_log(path, vfs)
    assert log.append(files(3)) == 1
    switch.thrown = True
    for _ in range(3):
        with pytest.raises(LogFullError, match="the disk is full; free some space"):
            log.append(files(1))
    switch.thrown = False
    assert log.append(files(1)) == 4
    log.close()
    assert log.failure is None
    vfs.unregister()
    assert_sound(path)
