"""The archive keeps every event before it is dropped, and is read together with the log."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from eventlog import archive as archives
from eventlog import history, segment, whole
from eventlog.archive import ARCHIVE_PATH, RESTORED, Archive
from eventlog.connection import open_reader, open_writer
from eventlog.durable import Calls
from eventlog.events import Record
from eventlog.log import Log
from eventlog.segment import ArchiveError, Header
from tests.eventlog.helpers import FakeClock, created, files, positions, root_state
from tests.eventlog.test_compaction import GO_ON, age, compactor, modified, removed


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive whose files are small."""
    monkeypatch.setattr(archives, "SEGMENT_EVENTS", 40)
    monkeypatch.setattr(segment, "BLOCK_ROWS", 7)
    return Archive(str(tmp_path / "archive"))


@pytest.fixture
def reader(log: Log) -> Iterator[apsw.Connection]:
    with closing(open_reader(log.path)) as connection:
        yield connection


def fill(log: Log) -> None:
    log.append([created(root_state()), *files(50)])
    log.append([modified(node, 1) for node in range(2, 52)])
    log.append([removed(node) for node in range(10, 20)])


def everything(reader: apsw.Connection) -> list[Record]:
    return list(history.read(reader, 0, history.head(reader)))


def read_all(reader: apsw.Connection, archive: Archive, **more: int) -> list[Record]:
    return list(whole.read(reader, archive, 0, history.head(reader), **more))


def test_a_place_that_cannot_be_used_is_told_before_anything_is_archived(
    reader: apsw.Connection, tmp_path: Path
) -> None:
    Archive(str(tmp_path / "archive")).check(reader)
    assert not (tmp_path / "archive").exists()
    (tmp_path / "file").touch()
    problems = {
        "no/archive": "there is no .*/no;",
        "file/archive": "file is no directory",
        "file": "Not a directory",
    }
    for name, problem in problems.items():
        with pytest.raises(ArchiveError, match=problem):
            Archive(str(tmp_path / name)).check(reader)


def test_an_archive_whose_disk_is_missing_is_told(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    archive.check(reader)
    Path(archive.path).rename(archive.path + ".unmounted")
    with pytest.raises(ArchiveError, match="are not there; mount its disk"):
        archive.check(reader)


def test_all_that_ever_was_is_in_archive_and_log_together(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    expected = everything(reader)
    for _ in range(3):
        age(clock)
        compactor(log, clock, archive=archive).run(GO_ON)
        assert read_all(reader, archive) == expected
        log.append([modified(30, 5), *files(3, "more")])
        expected += everything(reader)[-4:]
        assert read_all(reader, archive) == expected
    assert len(everything(reader)) < len(expected)


def test_files_follow_each_other_and_are_not_written_again(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    age(clock)
    result = compactor(log, clock, archive=archive).run(GO_ON)
    assert (result.archived, result.dropped) == (111, 60)
    found = archive.segments(reader, 0, 10**9)
    assert [(file.after, file.upto) for file in found] == [(0, 40), (40, 80), (80, 111)]
    assert compactor(log, clock, archive=archive).run(GO_ON).archived == 0


def test_parts_are_read(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    expected = everything(reader)
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    for after, upto in ((0, 1), (6, 7), (7, 41), (39, 81), (100, 111), (111, 200), (30, 30)):
        found = list(whole.read(reader, archive, after, upto))
        assert found == [r for r in expected if after < r.position <= upto]
    assert read_all(reader, archive, node=12) == [r for r in expected if r.node == 12]


def test_an_archive_that_begins_late_begins_with_what_is_left(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    age(clock)
    compactor(log, clock).run(GO_ON)
    left = everything(reader)
    log.append([modified(2, 9)])
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    assert read_all(reader, archive)[:-1] == left
    assert 2 not in {r.node for r in everything(reader)[:-1]}


def test_what_a_compaction_drops_while_it_is_read_is_found_in_the_archive(
    log: Log,
    clock: FakeClock,
    reader: apsw.Connection,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "BATCH", 10)
    monkeypatch.setattr(whole, "BATCH", 10)
    fill(log)
    expected = everything(reader)
    age(clock)
    compactor(log, clock, 10**9, archive=archive).run(GO_ON)
    for moment in (0, 5, 10, 60, 105, 110):
        found = []
        for number, record in enumerate(whole.read(reader, archive, 0, 111)):
            if number == moment:
                compactor(log, clock, archive=archive).run(GO_ON)
            found.append(record)
        assert found == expected, moment


def test_a_crash_before_the_drop_leaves_duplicates_that_no_reader_sees(
    log: Log, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    assert archive.extend(reader, 100) == (40, 40)
    assert archive.extend(reader, 100) == (80, 40)
    assert read_all(reader, archive) == everything(reader)


class Failing(Calls):
    """A disk on which something does not work."""

    def __init__(self, what: str) -> None:
        self.what = what

    def _fail(self, what: str) -> None:
        if what == self.what:
            raise OSError(28, os.strerror(28))

    def write(self, descriptor: int, data: bytes) -> None:
        self._fail("write")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._fail("sync")
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._fail("sync_directory")
        super().sync_directory(path)


@pytest.mark.parametrize("what", ["write", "sync", "sync_directory"])
def test_what_cannot_be_archived_is_not_dropped(
    log: Log, clock: FakeClock, reader: apsw.Connection, tmp_path: Path, what: str
) -> None:
    fill(log)
    age(clock)
    calls = Failing(what)
    archive = Archive(str(tmp_path / "archive"), calls)
    for _ in range(2):
        with pytest.raises(ArchiveError, match="cannot archive: No space left on device") as error:
            compactor(log, clock, archive=archive).run(GO_ON)
        assert "\n" not in str(error.value)
        assert positions(reader) == list(range(1, 112))
    calls.what = ""
    assert compactor(log, clock, archive=archive).run(GO_ON).dropped == 60


def test_what_a_crash_left_half_written_is_taken_away(
    log: Log, reader: apsw.Connection, archive: Archive, tmp_path: Path
) -> None:
    fill(log)
    directory = tmp_path / "archive"
    directory.mkdir()
    own = segment.name(Header(log.log_id, "", 0, 5))
    other = segment.name(Header("f" * 32, "", 0, 5))
    for name in (own, other):
        (directory / f".{name}.partial").touch()
    archive.extend(reader, 10)
    left = {path.name for path in directory.iterdir() if path.name.startswith(".")}
    assert left == {f".{other}.partial"}


def test_a_disk_that_is_not_mounted_is_no_place(log: Log, clock: FakeClock, tmp_path: Path) -> None:
    fill(log)
    age(clock)
    missing = Archive(str(tmp_path / "not" / "there"))
    with pytest.raises(ArchiveError, match="cannot archive: No such file or directory"):
        compactor(log, clock, archive=missing).run(GO_ON)


def test_an_archive_that_has_gone_stops_the_compaction(
    log: Log, clock: FakeClock, archive: Archive, tmp_path: Path
) -> None:
    fill(log)
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    (tmp_path / "archive").rename(tmp_path / "elsewhere")
    log.append([modified(2, 7)])
    age(clock)
    with pytest.raises(ArchiveError, match="mount its disk"):
        compactor(log, clock, archive=archive).run(GO_ON)
    assert log.call(lambda tx: tx.meta(ARCHIVE_PATH)) == archive.path
    assert not (tmp_path / "archive").exists()
    anew = Archive(str(tmp_path / "anew"))
    assert compactor(log, clock, archive=anew).run(GO_ON).dropped == 1


def damaged(archive: Archive, place: int) -> Path:
    file = sorted(Path(archive.path).iterdir())[1]
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    return file


def test_every_damage_is_told(log: Log, reader: apsw.Connection, archive: Archive) -> None:
    fill(log)
    for _ in range(3):
        archive.extend(reader, 111)
    file = sorted(Path(archive.path).iterdir())[1]
    whole_file = file.read_bytes()
    for place in range(0, len(whole_file), 3):
        damaged(archive, place)
        with pytest.raises(ArchiveError, match=str(file)):
            read_all(reader, archive)
        file.write_bytes(whole_file)
    for size in range(0, len(whole_file), 5):
        file.write_bytes(whole_file[:size])
        with pytest.raises(ArchiveError, match=str(file)):
            read_all(reader, archive)


def test_a_file_that_was_taken_away_is_told(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    first, second, _ = sorted(Path(archive.path).iterdir())
    assert archive.missing(reader, 0, 111) == []
    second.unlink()
    assert archive.missing(reader, 0, 111) == [(41, 80)]
    assert archive.missing(reader, 50, 60) == [(51, 60)]
    assert archive.missing(reader, 0, 40) == archive.missing(reader, 80, 111) == []
    first.unlink()
    assert archive.missing(reader, 0, 111) == [(1, 80)]


def test_files_of_other_logs_are_left_alone(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive, tmp_path: Path
) -> None:
    fill(log)
    expected = everything(reader)
    directory = tmp_path / "archive"
    directory.mkdir()
    alien = [(1, 1, 0, b"alien")]
    segment.write(directory, Header("a" * 32, "another", 0, 500), alien)
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    assert read_all(reader, archive) == expected


def test_of_a_log_before_a_restore_the_common_part_is_read(
    log: Log, clock: FakeClock, reader: apsw.Connection, archive: Archive
) -> None:
    fill(log)
    expected = everything(reader)
    age(clock)
    compactor(log, clock, archive=archive).run(GO_ON)
    writer = open_writer(log.path)
    writer.execute("update meta set value = ? where key = 'log_id'", ("b" * 32,))
    writer.execute("insert into meta values (?, '60')", (RESTORED,))
    writer.close()
    kept = set(positions(reader))
    assert read_all(reader, archive) == [
        r for r in expected if r.position <= 60 or r.position in kept
    ]
    log.append([modified(2, 9)])
    assert archive.missing(reader, 0, 112) == []
    assert archive.extend(reader, 112) == (sorted(kept)[39], 40)
