"""A power cut or an I/O error while the log is compacted, squashed and archived harms nobody."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import apsw
import pytest

from eventlog import archive as archives
from eventlog import codec, compaction, history, pace, segment, whole
from eventlog.archive import Archive
from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader, open_writer
from eventlog.durable import Calls
from eventlog.errors import LogError
from eventlog.events import Modified, Reason, Record, Removed, State
from eventlog.log import Draft, Log
from eventlog.pace import Pace
from projections.changes import read_page
from projections.replay import FOLDS
from projections.squash import squash
from tests.crash.disk import Sync, Truncate, Write
from tests.crash.names import AnyOp, SyncContent, SyncNames, WatchedCalls
from tests.crash.test_files import Scene, contents, harm, lay_out, perform, record
from tests.crash.test_power_cut import CHECKPOINTS
from tests.eventlog.helpers import FakeClock, assert_sound, created, file_state, files, root_state
from tests.model import Model

NODES = range(2, 82)
AUTHOR = "squash"

Act = Callable[[Log, Compactor], object]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have many steps and many files."""
    monkeypatch.setattr(archives, "SEGMENT_EVENTS", 90)
    monkeypatch.setattr(segment, "BLOCK_ROWS", 20)
    monkeypatch.setattr(compaction, "STRETCH", 60)
    monkeypatch.setattr(compaction, "CHECKPOINT_ROWS", 30)
    monkeypatch.setattr(compaction, "KEPT_PAGES", 1)
    monkeypatch.setattr(pace, "SIZE_MAX", 32)


def state(node: int, size: int) -> State:
    return file_state(b"f%d" % (node - 2), ino=998 + node, size=size)


def prepare(folder: Path) -> None:
    """Make a log in which every node was changed, and some are gone."""
    log = Log(str(folder / "log.db"), FOLDS, clock=FakeClock())
    log.append([created(root_state()), *files(len(NODES))])
    for size in (1, 2):
        log.append([Draft(n, Modified("", state(n, size))) for n in NODES])
    for node in NODES[::4]:
        log.append([Draft(node, Removed("", Reason.DELETED, 1, state(node, 2).name, 0o100644))])
    log.close()


def original() -> list[Record]:
    """Return what the log holds that `prepare` makes."""
    start = FakeClock().us
    events = [(0, created(root_state()).event), *((0, f.event) for f in files(len(NODES)))]
    events += [(n, Modified("", state(n, size))) for size in (1, 2) for n in NODES]
    events += [(n, Removed("", Reason.DELETED, 1, state(n, 2).name, 0o100644)) for n in NODES[::4]]
    return [Record(p, node or p, start, event) for p, (node, event) in enumerate(events, 1)]


ORIGINAL = original()


def act(folder: Path, vfs: str, calls: WatchedCalls, *, what: Act, archived: bool) -> None:
    """Open the log, and do something to it."""
    connect = partial(open_writer, vfs=vfs, pragmas=CHECKPOINTS)
    clock = FakeClock()
    log = Log(str(folder / "log.db"), FOLDS, clock=clock, connect=connect)
    clock.us += 1
    try:
        archive = Archive(str(folder), calls) if archived else None
        what(log, Compactor(log, Options(0, archive, connect=connect), clock))
    finally:
        log.close()
    if log.failure:
        raise log.failure


def compact(_log: Log, compactor: Compactor) -> None:
    assert compactor.run(threading.Event()).complete


def squash_all(log: Log, compactor: Compactor) -> None:
    pace = Pace(log, FakeClock(), threading.Event(), 0, 32)
    assert squash(log, compactor, pace).complete


def examine(folder: Path, done: bool, *, archived: bool, is_squash: bool) -> list[str]:  # noqa: FBT001 - see Scene
    """Say what is wrong after a crash."""
    path = folder / "log.db"
    try:
        log = Log(str(path), FOLDS, clock=FakeClock())
        head, floor = log.head, log.floor
        following = log.append(files(1, "next"))
        log.close()
        assert_sound(path)
    except (LogError, apsw.Error, AssertionError) as error:
        return [f"there is no whole log: {error!r}"]
    if following != head + 1 or head < len(ORIGINAL):
        return [f"position {following} after {head}"]
    with closing(open_reader(str(path))) as reader:
        wrong = answers(reader, floor)
        if archived:
            wrong += hole(reader, Archive(str(folder)))
        left = list(history.read(reader, 0, head))
    if done:
        wrong += unfinished(left, floor, is_squash=is_squash)
    return wrong


def answers(reader: apsw.Connection, floor: int) -> list[str]:
    """Drain the feed from every old cursor that is honoured: all must end with what is there."""
    live = Model.of(ORIGINAL).states
    wrong = []
    for cursor in range(0, len(ORIGINAL) + 1, 20):
        if 0 < cursor < floor:
            continue
        states = dict(Model.of(r for r in ORIGINAL if r.position <= cursor).states)
        page = read_page(reader, cursor, 1_000)
        for position, node, raw in page.rows:
            event = codec.decode(raw, position)
            if isinstance(event, Removed):
                states.pop(node, None)
            elif event.state.name != b"next0":
                states[node] = event.state
        if states != live:
            wrong.append(f"lost: cursor {cursor} ends elsewhere")
    return wrong


def hole(reader: apsw.Connection, archive: Archive) -> list[str]:
    """Say what is in neither archive nor log, or is there twice."""
    try:
        everything = list(whole.read(reader, archive, 0, len(ORIGINAL)))
    except LogError as error:
        return [f"the archive is broken: {error}"]
    return [] if everything == ORIGINAL else [f"a hole: {len(everything)} of {len(ORIGINAL)}"]


def unfinished(left: list[Record], floor: int, *, is_squash: bool) -> list[str]:
    last = {r.node: r for r in ORIGINAL}
    if not is_squash:
        kept = sorted(last.values(), key=lambda r: r.position)
        return [] if left == kept else ["it said that it was done"]
    gone = [r for r in left if r.position <= floor or isinstance(r.event, Removed)]
    return [] if floor == len(ORIGINAL) and not gone else ["it said that it was done"]


def scene(what: Act, *, archived: bool) -> Scene:
    return Scene(
        prepare,
        partial(act, what=what, archived=archived),
        partial(examine, archived=archived, is_squash=what is squash_all),
    )


SCENES = {
    "compaction": scene(compact, archived=False),
    "compaction-archive": scene(compact, archived=True),
    "squash": scene(squash_all, archived=False),
    "squash-archive": scene(squash_all, archived=True),
}
ARCHIVED = {name: each for name, each in SCENES.items() if name.endswith("archive")}

every_scene = pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)


def test_the_model_is_what_the_log_holds(tmp_path: Path) -> None:
    prepare(tmp_path)
    with closing(open_reader(str(tmp_path / "log.db"))) as reader:
        assert list(history.read(reader, 0, 1_000)) == ORIGINAL


@pytest.mark.slow
@every_scene
def test_a_power_cut_loses_nothing_and_leaves_no_hole(folder: Path, scene: Scene) -> None:
    assert harm(scene, folder / "f") == Counter()


@pytest.mark.slow
@pytest.mark.parametrize("without", [SyncContent, SyncNames])
def test_the_test_has_teeth_an_archive_that_is_not_synced_has_holes(
    folder: Path, without: type[AnyOp]
) -> None:
    scene = SCENES["compaction-archive"]
    assert harm(scene, folder / "f", lambda op: not isinstance(op, without)).total() > 3


class Trouble:
    """Fails one operation of a kind, as SQLite or the operating system would."""

    def __init__(self, kind: type[AnyOp], at: int, code: int) -> None:
        self.hit = False
        self._left = at
        self._kind = kind
        self._code = code

    def __call__(self, op: AnyOp) -> None:
        self._left -= isinstance(op, self._kind)
        if self._left == 0 and isinstance(op, self._kind):
            self.hit, self._left = True, -1
            raise self._error(op)

    def _error(self, op: AnyOp) -> Exception:
        name = getattr(op, "name", "")
        if isinstance(op, SyncContent | SyncNames) or name.endswith(".partial"):
            return OSError(28 if self._code == apsw.SQLITE_FULL else 5, "no luck")
        error = apsw.exception_for(self._code)
        error.args = ("disk I/O error",)
        return error


FAILURES = [
    (Write, apsw.SQLITE_IOERR_WRITE),
    (Write, apsw.SQLITE_FULL),
    (Sync, apsw.SQLITE_IOERR_FSYNC),
    (Truncate, apsw.SQLITE_IOERR_TRUNCATE),
    (SyncContent, apsw.SQLITE_IOERR_FSYNC),
    (SyncNames, apsw.SQLITE_IOERR_FSYNC),
]


@pytest.mark.slow
@every_scene
def test_an_io_error_is_told_and_it_can_be_done_again(folder: Path, scene: Scene) -> None:
    ops, before = record(scene, folder / "f")
    tried = failed = 0
    for kind, code in FAILURES:
        count = sum(isinstance(op, kind) for op in ops)
        for at in sorted({1 + n * count // 10 for n in range(min(count, 10))}):
            lay_out(folder / "f", before)
            trouble = Trouble(kind, at, code)
            error = perform(scene, folder / "f", trouble)
            assert trouble.hit
            assert error is None or "\n" not in str(error)
            assert scene.examine(folder / "f", False) == [], (kind, at, error)  # noqa: FBT003 - see Scene
            tried, failed = tried + 1, failed + (error is not None)
    assert tried > 20
    assert failed > 5


class FullFor(Calls):
    """A disk that is full."""

    def write(self, _descriptor: int, _data: bytes) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_archive_is_told_and_nothing_is_dropped(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = contents(tmp_path)["log.db"]
    clock = FakeClock()
    log = Log(str(tmp_path / "log.db"), FOLDS, clock=clock)
    clock.us += 1
    full = Archive(str(tmp_path / "archive"), FullFor())
    with pytest.raises(LogError, match="nothing is dropped until it works"):
        Compactor(log, Options(0, full), clock).run(threading.Event())
    log.close()
    assert contents(tmp_path)["log.db"] == before
