"""A power cut or an I/O error leaves the old snapshot, backup and database, or the new, whole."""

import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from eventlog import history
from eventlog.connection import fetch, open_reader, open_still, open_writer
from eventlog.errors import LogError, LogUnavailableError
from eventlog.log import Log
from projections import snapshot
from projections.backup import back_up, verify
from projections.replay import FOLDS
from projections.restore import examine, restore
from projections.snapshot_file import SnapshotFile
from projections.snapshot_store import SnapshotStore
from tests.crash.disk import Sync, Truncate, Write, seeded
from tests.crash.names import (
    AnyOp,
    Done,
    Link,
    NamedDisk,
    Rename,
    SyncContent,
    SyncNames,
    WatchedCalls,
    cuts,
)
from tests.crash.vfs import WatchedVfs
from tests.eventlog.helpers import FakeClock, assert_sound, created, files, root_state

NOW_US = 1_772_625_600_000_000
KEPT = "20260304T120000Z.db"
CUTS = 300

Observer = Callable[[AnyOp], None]


class Scene(NamedTuple):
    """Something that writes files, and what must hold after a crash.

    Attributes:
        prepare: makes the files that are there before, in a folder.
        act: does it, through a VFS and calls that are watched.
        examine: says what is wrong in a folder after a crash; gets whether it was done.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path, str, WatchedCalls], object]
    examine: Callable[[Path, bool], list[str]]


def make_log(folder: Path, count: int) -> None:
    log = Log(str(folder / "log.db"), FOLDS, clock=FakeClock())
    if not log.head:
        log.append([created(root_state())])
    log.append(files(count, f"f{log.head}-"))
    log.close()


def facts(path: Path) -> tuple[str, int, int]:
    """Return the id of a log, its head, and how many events it holds."""
    connection = open_still(str(path))
    try:
        meta = dict(fetch(connection, "select key, value from meta"))
        ((count,),) = fetch(connection, "select count(*) from events")
        return meta.get("log_id", ""), history.head(connection), count
    finally:
        connection.close()


# Snapshots: an older one is there, a newer is written.


def prepare_snapshot(folder: Path) -> None:
    make_log(folder, 40)
    reader = open_reader(str(folder / "log.db"))
    SnapshotStore(folder).take(reader, NOW_US - 10**9)
    reader.close()
    make_log(folder, 40)


def take_snapshot(folder: Path, _vfs: str, calls: WatchedCalls) -> None:
    reader = open_reader(str(folder / "log.db"))
    try:
        SnapshotStore(folder, calls).take(reader, NOW_US)
    finally:
        reader.close()


def examine_snapshot(folder: Path, done: bool) -> list[str]:  # noqa: FBT001 - see Scene
    found = SnapshotStore(folder).files()
    wrong = []
    for listed in found:
        try:
            with SnapshotFile(listed.path) as file:
                file.verify()
        except LogError as error:
            wrong.append(f"a broken one has a name: {error}")
    usable = [listed.header.position for listed in found if listed.header]
    if 41 not in usable:
        wrong.append("the old one is gone")
    if done and 81 not in usable:
        wrong.append("one that was made is gone")
    return wrong


# Backups: one is there already, and is replaced.


def prepare_backup(folder: Path) -> None:
    make_log(folder, 40)
    back_up(str(folder / "log.db"), folder / "saved")
    make_log(folder, 40)


def take_backup(folder: Path, vfs: str, calls: WatchedCalls) -> None:
    opening = partial(open_writer, vfs=vfs)
    back_up(str(folder / "log.db"), folder / "saved", calls, opening)


def examine_backup(folder: Path, done: bool) -> list[str]:  # noqa: FBT001 - see Scene
    try:
        events = verify(folder / "saved").events
    except LogError as error:
        return [f"there is no whole one: {error}"]
    return [] if events == 81 or (events == 41 and not done) else [f"it holds {events} events"]


# Restores: of a backup, and of a snapshot, in the place of a newer log.


def prepare_restore(folder: Path, kind: str) -> None:
    make_log(folder, 40)
    reader = open_reader(str(folder / "log.db"))
    if kind == "snapshot":
        snapshot.write(reader, folder / "saved", NOW_US)
    reader.close()
    if kind == "backup":
        back_up(str(folder / "log.db"), folder / "saved")
    make_log(folder, 40)
    (folder / "log.db.replaced").mkdir(exist_ok=True)


def prepare_killed(folder: Path) -> None:
    """Have the newest events in the write-ahead log only, as a killed server leaves them."""
    prepare_restore(folder, "backup")
    log = Log(str(folder / "log.db"), FOLDS, clock=FakeClock())
    log.append(files(40, "wal"))
    left = {name: (folder / name).read_bytes() for name in ("log.db", "log.db-wal")}
    log.close()
    for name, data in left.items():
        (folder / name).write_bytes(data)


def put_back(folder: Path, vfs: str, calls: WatchedCalls) -> None:
    restore(examine(folder / "saved"), str(folder / "log.db"), NOW_US, calls=calls, vfs=vfs)


def examine_restore(folder: Path, done: bool, old: int = 81) -> list[str]:  # noqa: FBT001 - see Scene
    place, kept = folder / "log.db", folder / "log.db.replaced" / KEPT
    try:
        _, head, events = facts(place)
        log = Log(str(place), FOLDS)
        following = log.append(files(1, "next"))
        log.close()
        assert_sound(place)
    except (LogError, apsw.Error, AssertionError, ValueError) as error:
        return [f"there is no whole log: {error!r}"]
    if following != head + 1:
        return [f"position {following} after {head}"]
    if head < 2**32:
        whole = events == head == old
        return ["the backup is not there, or the old one not whole"] if done or not whole else []
    if events != 2 * 41:  # each is told anew
        return [f"it holds {events} events up to {head}"]
    is_kept = kept.exists() and facts(kept)[1:] == (old, old)
    return [] if is_kept else ["the old one is gone"]


SCENES = {
    "snapshot": Scene(prepare_snapshot, take_snapshot, examine_snapshot),
    "backup": Scene(prepare_backup, take_backup, examine_backup),
    "restore-backup": Scene(partial(prepare_restore, kind="backup"), put_back, examine_restore),
    "restore-killed": Scene(prepare_killed, put_back, partial(examine_restore, old=121)),
    "restore-snapshot": Scene(partial(prepare_restore, kind="snapshot"), put_back, examine_restore),
}

every_scene = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def is_aside(name: str) -> bool:
    return name == KEPT or (name.startswith(".part") and not name.endswith("snapshot"))


def place_of(folder: Path, name: str) -> Path:
    """Return where a file of the disk is; a restore has a directory of its own."""
    aside = folder / "log.db.replaced"
    return aside / name if aside.is_dir() and is_aside(name) else folder / name


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def lay_out(folder: Path, content: dict[str, bytes]) -> None:
    """Have these files in a folder, and nothing else."""
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        path.unlink()
    for name, data in content.items():
        place_of(folder, name).write_bytes(data)


def perform(scene: Scene, folder: Path, observe: Observer) -> LogError | None:
    """Act, watched; return the error that it ended with."""
    vfs = WatchedVfs(observe)
    try:
        scene.act(folder, vfs.vfs_name, WatchedCalls(observe))
    except LogError as error:
        return error
    finally:
        vfs.unregister()
    observe(Done())
    return None


def record(scene: Scene, folder: Path) -> tuple[list[AnyOp], dict[str, bytes]]:
    """Act once; return all that was done to the disk, and what was there before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    scene.prepare(folder)
    for path in [*folder.glob("*-shm"), *folder.glob("*.lock")]:
        path.unlink()
    before = contents(folder)
    ops: list[AnyOp] = []
    assert perform(scene, folder, ops.append) is None
    return ops, before


def harm(
    scene: Scene, folder: Path, keep: Callable[[AnyOp], bool] = lambda _: True
) -> Counter[str]:
    """Cut the power everywhere and count what is wrong then."""
    ops, before = record(scene, folder)
    ops = [op for op in ops if keep(op)]
    disk, found = NamedDisk.holding(before), Counter[str]()
    random = seeded(len(ops))
    places = sorted([*random.choices(range(len(ops) + 1), k=CUTS), *_about_names(ops)])
    for number, cut in enumerate(cuts(ops, disk, places)):
        lay_out(folder, cut.after_cut(seeded(number)))
        found.update(scene.examine(folder, cut.is_done))
    return found


def _about_names(ops: list[AnyOp]) -> list[int]:
    """Return the places where it matters most, often: about the changes of names, and the end."""
    told = [n for n, op in enumerate(ops) if isinstance(op, Rename | Link | SyncNames | Done)]
    return [n + after for n in told for after in (0, 1) for _ in range(8)]


@pytest.mark.slow
@every_scene
def test_a_power_cut_leaves_the_old_or_the_new(folder: Path, scene: Scene) -> None:
    assert harm(scene, folder / "f") == Counter()


@pytest.mark.slow
@every_scene
@pytest.mark.parametrize("without", [SyncContent, SyncNames])
def test_the_test_has_teeth_without_a_sync_it_finds_harm(
    folder: Path, scene: Scene, without: type[AnyOp]
) -> None:
    if scene is SCENES["backup"] and without is SyncContent:
        return  # `vacuum into` syncs what it made by itself
    assert harm(scene, folder / "f", lambda op: not isinstance(op, without)).total() > 3


class Trouble:
    """Fails one operation of a kind."""

    def __init__(self, kind: type[AnyOp], at: int) -> None:
        self.left = at
        self._kind = kind

    def __call__(self, op: AnyOp) -> None:
        self.left -= isinstance(op, self._kind)
        if self.left == 0 and isinstance(op, self._kind):
            self.left = -(10**9)
            raise LogUnavailableError("disk I/O error")


FAILING = (Write, Truncate, Sync, SyncContent, SyncNames, Rename, Link)


@pytest.mark.slow
@every_scene
def test_an_io_error_is_told_and_leaves_the_old_or_the_new(folder: Path, scene: Scene) -> None:
    ops, before = record(scene, folder / "f")
    tried = 0
    for kind in FAILING:
        count = sum(isinstance(op, kind) for op in ops)
        for at in sorted({1 + n * count // 12 for n in range(min(count, 12))}):
            lay_out(folder / "f", before)
            trouble = Trouble(kind, at)
            error = perform(scene, folder / "f", trouble)
            assert trouble.left < 0
            assert error is None or "\n" not in str(error)
            assert scene.examine(folder / "f", error is None) == [], (kind, at, error)
            tried += 1
            lay_out(folder / "f", {k: v for k, v in contents(folder / "f").items() if k != KEPT})
            assert perform(scene, folder / "f", lambda _: None) is None, "it cannot be tried again"
    assert tried > 5
