"""A snapshot holds what the log said at its position, and never passes for whole when it is not."""

import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.connection import open_reader
from eventlog.errors import LogClosedError, LogError
from eventlog.events import Created, Described, Modified, Moved, Record, Removed
from eventlog.log import Log
from projections import snapshot
from projections.frames import FrameReader, FrameWriter, SnapshotError
from projections.replay import FOLDS
from projections.snapshot_file import SnapshotFile
from tests import strategies
from tests.eventlog.helpers import created, directory_state, file_state, files, root_state
from tests.model import Model
from tests.projections.snapshots import LOG_ID, NOW_US, PREFIX, log_of, snapshot_of


def many(count: int) -> list[Record]:
    """Return a root with directories of some files each."""
    found = [Record(1, 1, 5, Created("", root_state()))]
    for n in range(2, count + 1):
        parent = 1 if n % 10 == 2 else n - (n - 2) % 10
        name = b"%d" % (n * 7919 % count)
        state = directory_state(name) if parent == 1 else file_state(name, parent, n)
        found.append(Record(n, n, n, Created("", state)))
    return found


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[SnapshotFile]:
    records = [*many(4_000), Record(4_001, 7, 4_001, Removed("", "deleted", 2, b"x", 0o100644))]
    with snapshot_of(log_of(records), tmp_path / "a.snapshot") as file:
        yield file


def test_the_header_says_what_it_is_of(whole: SnapshotFile) -> None:
    header = whole.header
    assert (header.log_id, header.id_prefix, header.position) == (LOG_ID, PREFIX, 4_001)
    assert (header.nodes, header.newest_us, header.time_us) == (3_999, 4_001, NOW_US)
    assert header.meta == {"floor": "0", "ready": "1"}
    assert len(whole.trailer.node_frames) == 4
    whole.verify()


def test_a_snapshot_of_an_empty_log_is_one(tmp_path: Path) -> None:
    with snapshot_of(log_of([]), tmp_path / "a") as file:
        file.verify()
        assert (file.header.position, file.header.nodes, file.header.newest_us) == (0, 0, 0)
        assert (list(file.nodes()), list(file.removed()), file.children(0)) == ([], [], [])
        assert file.last(1) is None


@given(strategies.histories(), st.integers(1, 3))
def test_it_holds_the_last_event_of_every_node(records: list[Record], rows: int) -> None:
    model, last = Model.of(records), {r.node: r for r in records}
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(snapshot, "FRAME_ROWS", rows)
        patch.setattr(snapshot, "INDEX_ROWS", rows)
        with snapshot_of(log_of(records), Path(folder, "a")) as file:
            file.verify()
            assert {r.node: r for r in file.nodes()} == {n: last[n] for n in model.states}
            gone = last.keys() - model.states.keys()
            assert {r.node: r for r in file.removed()} == {n: last[n] for n in gone}
            for number in range(len(records) + 2):
                assert file.last(number) == (last[number] if number in model.states else None)
                children = [last[n] for n in model.children(number)]
                children.sort(key=key)
                assert file.children(number) == children
                assert pages(file, number) == children


def key(record: Record) -> tuple[bytes, int]:
    assert isinstance(record.event, Created | Modified | Moved | Described)
    return record.event.state.name, record.node


def pages(file: SnapshotFile, parent: int) -> list[Record]:
    found: list[Record] = []
    after = (b"", 0)
    while page := file.children(parent, after, 2):
        found += page
        after = key(page[-1])
    return found


def test_what_is_appended_meanwhile_is_not_in_it(tmp_path: Path) -> None:
    """Even with another connection that commits between the frames: one transaction reads all."""
    log = Log(str(tmp_path / "log.db"), FOLDS)
    log.append([created(root_state()), *files(2_500)])

    class Appending(threading.Event):
        def is_set(self) -> bool:
            log.append(files(1, f"late{log.head}-"))
            return False

    reader = open_reader(log.path)
    header = snapshot.write(reader, tmp_path / "a", 0, stop=Appending())
    reader.close()
    assert log.head > 2_503
    log.close()
    assert (header.position, header.nodes) == (2_501, 2_501)
    with SnapshotFile(tmp_path / "a") as file:
        file.verify()


def test_one_that_is_stopped_leaves_what_was_there(tmp_path: Path) -> None:
    path, stop = tmp_path / "a", threading.Event()
    snapshot_of(log_of(many(10)), path).close()
    before = path.read_bytes()
    stop.set()
    with pytest.raises(LogClosedError, match="was stopped"):
        snapshot.write(log_of(many(20)), path, 1, stop=stop)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_was_cut_off_is_refused_wherever_it_was_cut(whole: SnapshotFile) -> None:
    data = whole.path.read_bytes()
    cut = whole.path.with_name("cut")
    for size in {0, 1, 8, 100, *range(0, len(data), 997), len(data) - 1}:
        cut.write_bytes(data[:size])
        with pytest.raises(SnapshotError, match=r"cut off|no snapshot"):
            SnapshotFile(cut)


def test_one_flipped_bit_is_found_wherever_it_is(whole: SnapshotFile) -> None:
    data = bytearray(whole.path.read_bytes())
    random = Random(1)  # noqa: S311 - to be repeated
    bad = whole.path.with_name("bad")
    for place in [
        *range(40),
        *random.sample(range(len(data)), 100),
        *range(len(data) - 16, len(data)),
    ]:
        data[place] ^= 1 << random.randrange(8)
        bad.write_bytes(data)
        with pytest.raises(LogError), SnapshotFile(bad) as file:
            file.verify()
        data[:] = whole.path.read_bytes()


def test_a_damaged_frame_is_refused_when_it_is_read(whole: SnapshotFile) -> None:
    data = bytearray(whole.path.read_bytes())
    data[whole.trailer.node_frames[2].start + 50] ^= 1
    bad = whole.path.with_name("bad")
    bad.write_bytes(data)
    with SnapshotFile(bad) as file:
        assert len(file.children(0)) == 1
        with pytest.raises(SnapshotError, match=r"bad: damaged at byte [\d,]+; use another"):
            list(file.nodes())


def test_a_newer_format_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = snapshot.header_of

    def newer(connection: apsw.Connection, time_us: int) -> snapshot.Header:
        return msgspec.structs.replace(real(connection, time_us), format=3)

    monkeypatch.setattr(snapshot, "header_of", newer)
    snapshot.write(log_of(many(3)), tmp_path / "a", 0)
    with pytest.raises(SnapshotError, match=r"format 3 is not known here .* use a newer nasfeed"):
        SnapshotFile(tmp_path / "a")


def test_a_small_file_cannot_unpack_to_much(tmp_path: Path) -> None:
    data: list[bytes] = []
    frames = FrameWriter(data.append)
    start = frames.put(b"N", bytes(2**27))
    frames.finish(b"E", b"")
    (tmp_path / "a").write_bytes(b"".join(data))
    with FrameReader(tmp_path / "a") as reader, pytest.raises(SnapshotError, match="damaged"):
        reader.read(start)


def test_another_file_is_no_snapshot(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello" * 100)
    with pytest.raises(SnapshotError, match="this is no snapshot"):
        SnapshotFile(tmp_path / "a")
    with pytest.raises(LogError, match="No such file"):
        SnapshotFile(tmp_path / "none")
