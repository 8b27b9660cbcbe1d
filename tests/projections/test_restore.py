"""What is restored is whole, of a new epoch, and the old database is kept."""

import asyncio
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.answers import Answer
from api.feed import Feed
from api.status import Readiness
from eventlog import history
from eventlog.compaction import Compactor, Options
from eventlog.connection import fetch, open_reader, open_still, open_writer
from eventlog.errors import LogError, LogFormatError, LogInUseError, LogUnavailableError
from eventlog.events import Created, Modified, Moved, Reason, Removed
from eventlog.log import Draft, Log
from eventlog.pace import Pace
from projections import snapshot
from projections.backup import back_up
from projections.frames import SnapshotError
from projections.replay import FOLDS, table_rows
from projections.restore import Restored, examine, restore
from projections.squash import squash
from projections.tree import Tree
from tests.eventlog.helpers import (
    FakeClock,
    assert_sound,
    created,
    directory_state,
    file_state,
    files,
    root_state,
)
from tools.feed_reader import FeedReader

NOW_US = 1_772_625_600_000_000
"""2026-03-04T12:00:00Z"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    log = Log(str(path), FOLDS, clock=FakeClock())
    log.append([created(root_state()), *files(5)])
    log.append([Draft(3, Removed("", Reason.DELETED, 1, b"f1", stat.S_IFREG | 0o644))])
    log.close()
    return path


def append(path: Path, *names: str) -> None:
    log = Log(str(path), FOLDS)
    log.append([created(file_state(name.encode())) for name in names])
    log.close()


def content(path: Path) -> tuple[list[Any], dict[str, list[Any]]]:
    reader = open_still(str(path))
    try:
        events = fetch(reader, "select position, node, time_us, record from events")
        return events, table_rows(reader)
    finally:
        reader.close()


def live(rows: Any) -> list[tuple[object, ...]]:  # noqa: ANN401 - of any table
    """Return the rows of live nodes without the positions of their last events."""
    return [(row[0], *row[2:]) for row in rows["nodes"] if row[2] is not None]


def put_back(path: Path, database: Path, now_us: int = NOW_US) -> Restored:
    return restore(examine(path), str(database), now_us)


def test_a_backup_is_the_log_of_one_moment(database: Path, tmp_path: Path) -> None:
    log = Log(str(database), FOLDS)
    log.append(files(3, "late"))  # still in the write-ahead log
    made = back_up(str(database), tmp_path / "b")
    assert (made.head, made.events, made.log_id) == (10, 10, log.log_id)
    assert made.size == (tmp_path / "b").stat().st_size
    log.close()
    assert content(tmp_path / "b") == content(database)
    assert [p.name for p in tmp_path.iterdir() if p.name[0] == "b"] == ["b"]


def test_a_backup_that_is_not_right_is_none(database: Path, tmp_path: Path) -> None:
    connection = open_writer(str(database))
    connection.execute("delete from nodes where number = 4")
    connection.close()
    with pytest.raises(LogFormatError, match=r"the copy is not right: .*nasfeed replay"):
        back_up(str(database), tmp_path / "b")
    connection = open_writer(str(database))
    connection.execute("update events set record = x'90' where position = 4")
    connection.close()
    with pytest.raises(LogFormatError, match="the copy is not right: position 4"):
        back_up(str(database), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_backup_comes_back_and_the_old_one_is_kept(database: Path, tmp_path: Path) -> None:
    back_up(str(database), tmp_path / "b")
    append(database, "x", "y")
    before, old = content(tmp_path / "b"), content(database)
    done = put_back(tmp_path / "b", database)
    events, _ = content(database)
    told, again = events[:7], events[7:]
    assert told == before[0]
    assert [number for _, number, _, _ in again] == [1, 2, 4, 5, 6]
    assert_sound(database)
    assert done.kept == tmp_path / "log.db.replaced" / "20260304T120000Z.db"
    assert content(done.kept) == old
    assert [p.name for p in done.kept.parent.iterdir()] == [done.kept.name]


def test_a_snapshot_comes_back_as_a_log_of_which_all_was_compacted(
    database: Path, tmp_path: Path
) -> None:
    append(database, "x")
    reader = open_reader(str(database))
    snapshot.write(reader, tmp_path / "s", 0)
    rows, prefix = table_rows(reader), fetch(reader, snapshot.META)
    reader.close()
    append(database, "y")
    done = put_back(tmp_path / "s", database)
    assert_sound(database)
    assert done.made.events == 7 + 6  # of eight: the creation of what was removed is gone
    assert live(content(database)[1]) == live(rows)
    facts = dict(prefix)
    reader = open_reader(str(database))
    found = dict(fetch(reader, snapshot.META))
    reader.close()
    assert found["id_prefix"] == facts["id_prefix"]
    assert found["log_id"] not in {facts["log_id"], ""}
    assert (found["merged"], found["compacted"], found["restored"]) == ("8", "8", "8")
    append(database, "z")
    assert_sound(database)


@pytest.mark.parametrize("kind", ["backup", "snapshot"])
def test_it_can_be_restored_where_nothing_is(database: Path, tmp_path: Path, kind: str) -> None:
    reader = open_reader(str(database))
    if kind == "snapshot":
        snapshot.write(reader, tmp_path / "b", 0)
    else:
        back_up(str(database), tmp_path / "b")
    reader.close()
    fresh = tmp_path / "new" / "deep" / "log.db"
    done = put_back(tmp_path / "b", fresh)
    assert done.kept is None
    assert_sound(fresh)


def test_a_damaged_database_is_replaced_and_kept_with_its_wal(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(str(database), tmp_path / "b")
    damaged = b"SQLite format 3\0" + bytes(5_000)
    database.write_bytes(damaged)
    Path(f"{database}-wal").write_bytes(b"wal")
    real = open_writer

    def fail(path: str, **settings: Any) -> apsw.Connection:  # noqa: ANN401 - as the real one
        """Fail as on bad sectors: elsewhere SQLite takes away a WAL that says nothing."""
        if path == str(database):
            raise LogUnavailableError(f"{path}: disk I/O error")
        return real(path, **settings)

    monkeypatch.setattr("projections.restore.open_writer", fail)
    done = put_back(tmp_path / "b", database)
    assert_sound(database)
    assert done.kept is not None
    assert done.kept.read_bytes() == damaged
    assert Path(f"{done.kept}-wal").read_bytes() == b"wal"
    assert not Path(f"{database}-wal").exists()


def test_a_running_server_is_not_pulled_its_log_away(database: Path, tmp_path: Path) -> None:
    back_up(str(database), tmp_path / "b")
    log = Log(str(database), FOLDS)
    with pytest.raises(LogInUseError, match="stop it"):
        put_back(tmp_path / "b", database)
    log.append(files(1, "x"))
    log.close()
    assert_sound(database)


def test_who_reads_the_old_one_is_waited_for(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.restore.BUSY_TIMEOUT_MS", 10)
    back_up(str(database), tmp_path / "b")
    reader = open_reader(str(database))
    with reader:
        history.head(reader)
        writer = open_writer(str(database))
        writer.execute("insert into meta values ('x', 'y')")
        with pytest.raises(LogUnavailableError, match="someone is reading it"):
            put_back(tmp_path / "b", database)
        writer.close()
    reader.close()
    assert_sound(database)
    put_back(tmp_path / "b", database)


def test_a_damaged_backup_changes_nothing(database: Path, tmp_path: Path) -> None:
    back_up(str(database), tmp_path / "b")
    connection = apsw.Connection(str(tmp_path / "b"))
    connection.execute("update events set record = x'90' where position = 4")
    connection.close()
    before = database.read_bytes()
    with pytest.raises(LogFormatError, match="position 4"):
        put_back(tmp_path / "b", database)
    assert database.read_bytes() == before
    assert not (tmp_path / "log.db.replaced").exists()


def test_a_damaged_snapshot_changes_nothing(database: Path, tmp_path: Path) -> None:
    reader = open_reader(str(database))
    snapshot.write(reader, tmp_path / "s", 0)
    reader.close()
    data = bytearray((tmp_path / "s").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "s").write_bytes(data)
    before = database.read_bytes()
    with pytest.raises(SnapshotError, match="damaged"):
        put_back(tmp_path / "s", database)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (b"hello" * 1_000, "damaged, or no database"),
        (b"", "this is no nasfeed database"),
        (None, "No such file"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, made: bytes | None, problem: str) -> None:
    if made is not None:
        (tmp_path / "b").write_bytes(made)
    with pytest.raises(LogError, match=problem):
        examine(tmp_path / "b")


def test_a_newer_backup_is_refused(database: Path, tmp_path: Path) -> None:
    back_up(str(database), tmp_path / "b")
    connection = apsw.Connection(str(tmp_path / "b"))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(LogFormatError, match=r"format 99 is not known here .* use a newer nasfeed"):
        examine(tmp_path / "b")


def test_the_database_itself_is_no_backup_of_itself(database: Path) -> None:
    with pytest.raises(LogUnavailableError, match="the database itself"):
        put_back(database, database)


def test_a_copy_with_its_wal_is_a_backup_too(database: Path, tmp_path: Path) -> None:
    log = Log(str(database), FOLDS)
    log.append(files(2, "late"))
    for suffix in ("", "-wal"):
        (tmp_path / f"copy{suffix}").write_bytes(Path(f"{database}{suffix}").read_bytes())
    log.close()
    assert put_back(tmp_path / "copy", database).made.events == 9 + 7


def test_a_backup_on_a_read_only_disk_leaves_no_file_beside_it(
    database: Path, tmp_path: Path
) -> None:
    (tmp_path / "ro").mkdir()
    (tmp_path / "ro" / "b").write_bytes(database.read_bytes())  # in WAL mode, as a server left it
    open_still(str(tmp_path / "ro" / "b")).close()
    assert put_back(tmp_path / "ro" / "b", database).made.events == 7 + 5
    assert [p.name for p in (tmp_path / "ro").iterdir()] == ["b"]


class OldClient:
    """Folds the feed as the seed's client does: no log_id, no look at the status."""

    def __init__(self) -> None:
        self.cursor = 0
        self.names: dict[str, str] = {}

    def drain(self, log: Log, pages: int = 1_000) -> None:
        reader = FeedReader(log)
        feed = Feed(reader, lambda: Readiness(ready=True))
        try:
            asyncio.run(self._drain(feed, pages))
        finally:
            feed.close()
            reader.close()

    async def _drain(self, feed: Feed, pages: int) -> None:
        more = True
        while more and pages:
            pages -= 1
            answer = await feed.changes(b"cursor=%d&max_size=2" % self.cursor)
            assert isinstance(answer, Answer)
            data = msgspec.json.decode(answer.body)
            if data.get("reset"):
                self.names.clear()  # what the real one does when it begins again at 0
            for change in data["changes"]:
                if change["removed"]:
                    self.names.pop(change["node_id"], None)
                else:
                    self.names[change["node"]["id"]] = change["node"]["name"]
            self.cursor, more = data["cursor"], data["has_more"]


def names(log: Log) -> dict[str, str]:
    reader = open_reader(log.path)
    tree = Tree(reader)
    found = {
        log.ids.to_id(node.number): node.state.name.decode()
        for parent in (0, 1)
        for node in tree.children(parent)
    }
    reader.close()
    return found


def steps(letters: str) -> Iterator[list[Draft]]:
    """Yield one batch for each letter: new files, a change, a removal, of nodes that there are."""
    for number, letter in enumerate(letters):
        name = f"{letter}{number}".encode()
        yield [created(file_state(name)), created(directory_state(name + b"d"))]


def change_last(log: Log, number: int) -> None:
    """Rename or remove the last file that there is, after what `steps` made."""
    reader = open_reader(log.path)
    found = Tree(reader).children(1)
    reader.close()
    if not found:
        return
    node = found[number % len(found)]
    state = node.state
    if number % 3 == 0:
        event = Removed("", Reason.DELETED, 1, state.name, state.mode)
    elif number % 3 == 1:
        event = Moved("", msgspec.structs.replace(state, name=b"m%d" % log.head), 1, state.name)  # type: ignore[assignment]  # any event
    else:
        event = Modified("", msgspec.structs.replace(state, size=number))  # type: ignore[assignment]  # any event
    log.append([Draft(node.number, event)])


@given(
    st.lists(st.integers(0, 8), max_size=6),
    st.lists(st.integers(0, 8), max_size=6),
    st.lists(st.integers(0, 8), max_size=6),
    st.sampled_from(["backup", "snapshot"]),
    st.booleans(),
)
def test_every_old_client_converges_after_a_restore(
    first: list[int],
    lost: list[int],
    after: list[int],
    kind: str,
    known: bool,  # noqa: FBT001 - drawn
) -> None:
    """Whatever cursor it holds, of before the backup or of what was lost, and without a log_id."""
    with TemporaryDirectory() as folder:
        path, saved = Path(folder, "log.db"), Path(folder, "saved")
        clients: list[OldClient] = []

        def live(log: Log, numbers: list[int]) -> None:
            for number, batch in zip(numbers, steps("x" * len(numbers)), strict=True):
                log.append(batch)
                change_last(log, number)
                client = OldClient()
                client.drain(log)
                clients.append(client)

        log = Log(str(path), FOLDS)
        log.append([created(root_state())])
        live(log, first)
        if kind == "backup":
            back_up(str(path), saved)
        else:
            reader = open_reader(str(path))
            snapshot.write(reader, saved, 0)
            reader.close()
        live(log, lost)
        log.close()
        if not known:
            path.unlink()  # the old disk is gone, and with it the knowledge of how far it was
        put_back(saved, path)
        log = Log(str(path), FOLDS)
        live(log, after)
        for client in clients:
            client.drain(log)
            assert client.names == names(log)
        log.close()
        assert_sound(path)


def test_who_was_in_the_middle_of_a_drain_begins_again(database: Path, tmp_path: Path) -> None:
    """A node that it would have been told later may come before its cursor in the backup."""
    back_up(str(database), tmp_path / "b")
    log = Log(str(database), FOLDS)
    log.append([Draft(2, Modified("", file_state(b"f0", size=9)))])
    client = OldClient()
    client.drain(log, pages=1)
    assert 0 < client.cursor < 7
    log.close()
    put_back(tmp_path / "b", database)
    log = Log(str(database), FOLDS)
    client.drain(log)
    assert client.names == names(log)
    log.close()


def test_the_feed_of_a_restored_log_can_be_drained_in_pages(database: Path, tmp_path: Path) -> None:
    back_up(str(database), tmp_path / "b")
    put_back(tmp_path / "b", database)
    log = Log(str(database), FOLDS)
    client = OldClient()
    client.drain(log)
    assert (client.cursor, client.names) == (log.head, names(log))
    log.close()


def test_a_creation_after_a_restore_has_a_number_that_was_never_given(
    database: Path, tmp_path: Path
) -> None:
    back_up(str(database), tmp_path / "b")
    append(database, "x", "y", "z")
    put_back(tmp_path / "b", database)
    log = Log(str(database), FOLDS)
    first = log.append([Draft(0, Created("", file_state(b"new")))])
    assert first > 2**32
    assert log.ids.to_number(log.ids.to_id(first)) == first
    log.close()


def test_a_squash_does_not_bring_old_cursors_back(database: Path, tmp_path: Path) -> None:
    """Also one that was begun in the log that was backed up."""
    connection = open_writer(str(database))
    connection.execute("insert into meta values ('squash', '7')")
    connection.close()
    back_up(str(database), tmp_path / "b")
    put_back(tmp_path / "b", database)
    log = Log(str(database), FOLDS)
    honoured = log.floor
    compactor = Compactor(log, Options(0), FakeClock())
    squash(log, compactor, Pace(log, FakeClock(), threading.Event(), 0.0))
    assert log.floor > honoured > 2**32
    log.close()
    log = Log(str(database), FOLDS)
    assert log.floor > honoured
    log.close()
