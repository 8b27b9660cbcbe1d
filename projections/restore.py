"""Puts a backup or a snapshot in the place of a log.

The new database is made aside, as the first of a new epoch (see `eventlog.epochs`), and verified.
Then the old one gets a second name, by a hard link, and the new one is renamed over the first. So
there is a whole database in the place at every moment, the old one or the new one, and the old one
is kept. Before that, what the old one has in its write-ahead log is brought into its file: a WAL
must never be found beside a database that it is not of, because SQLite would play it back.
"""

import contextlib
import datetime as dt
import itertools
from pathlib import Path
from typing import NamedTuple

import apsw

from eventlog import codec, history, schema
from eventlog.compaction import COMPACTED, MERGED
from eventlog.connection import fetch, open_still, open_writer, translated_errors
from eventlog.durable import SYSTEM, Calls
from eventlog.epochs import HONOURED, begin
from eventlog.errors import (
    CorruptRecordError,
    LogError,
    LogFormatError,
    LogFullError,
    LogUnavailableError,
)
from eventlog.events import Modified
from eventlog.lock import LogLock
from eventlog.log import Draft, Transaction
from eventlog.replacing import replacing, translated_os_errors
from projections.backup import Backup, copy, verify
from projections.frames import MAGIC
from projections.replay import FOLDS, stored_folds
from projections.snapshot import META
from projections.snapshot_file import SnapshotFile
from projections.squash import SQUASH
from projections.tree import state_of

BUSY_TIMEOUT_MS = 5_000
"""How long to wait for whoever reads the old database."""

MAKING: dict[str, int | str] = {
    # What is being made is nothing yet: after a crash it is made anew, and it is synced at the end.
    "journal_mode": "memory",
    "synchronous": 0,
    # Events of a snapshot come in the order of places; with a small cache each would cost a page.
    "cache_size": -262_144,
}

BATCH = 10_000
AUTHOR = "restore"
"""Author of the events that tell a state anew; nobody did anything to the file."""

LIVE = (
    "select n.number, n.position, e.record from nodes n join events e on e.position = n.position"
    " where n.position <= ? and n.parent is not null order by n.position limit ?"
)
INSERT = "insert into events (position, node, time_us, record) values (?, ?, ?, ?)"


class Source(NamedTuple):
    """What can be put in the place of a log.

    Attributes:
        path: the file.
        is_snapshot: whether it is a snapshot; else it is a database.
        head: its last position.
        time_us: when its last event was appended, microseconds since 1970 UTC; 0: there is none.
        id_prefix: of the public ids of its nodes.
    """

    path: Path
    is_snapshot: bool
    head: int
    time_us: int
    id_prefix: str


class Restored(NamedTuple):
    """What a restore did.

    Attributes:
        made: the log that is in the place now.
        kept: where the old database is; None when there was none.
    """

    made: Backup
    kept: Path | None


def examine(path: Path) -> Source:
    """Find out what a file is; it is not verified yet.

    Raises:
        LogError: it is no backup and no snapshot, or of a newer format, or cannot be read.
    """
    with translated_os_errors(path), path.open("rb") as file:
        is_snapshot = file.read(len(MAGIC)) == MAGIC
    if is_snapshot:
        with SnapshotFile(path) as snapshot:
            header = snapshot.header
        return Source(
            path,
            is_snapshot=True,
            head=header.position,
            time_us=header.newest_us,
            id_prefix=header.id_prefix,
        )
    connection = open_still(str(path))
    try:
        with translated_errors(str(path)):
            facts = dict(fetch(connection, META))
            newest = fetch(connection, "select time_us from events order by position desc limit 1")
            head = history.head(connection)
    finally:
        connection.close()
    return Source(
        path,
        is_snapshot=False,
        head=head,
        time_us=newest[0][0] if newest else 0,
        id_prefix=facts.get("id_prefix", ""),
    )


def restore(
    source: Source, database: str, now_us: int, *, calls: Calls = SYSTEM, vfs: str | None = None
) -> Restored:
    """Put a backup or a snapshot in the place of a log.

    Args:
        source: what `examine` found.
        database: the place.
        now_us: microseconds since 1970 UTC.
        calls: the operating system.
        vfs: SQLite's; another one is for tests.

    Returns:
        What is there now, and where the old log is.

    Raises:
        LogInUseError: a server runs on the log.
        LogError: it could not be done; the old log is in its place, as it was.
    """
    place = Path(database).resolve()
    if place.exists() and place.samefile(source.path):
        raise LogUnavailableError(f"{place}: this is the database itself; give a backup of it")
    aside = place.with_name(f"{place.name}.replaced")
    with translated_os_errors(place.parent):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.closing(LogLock(database)), contextlib.ExitStack() as undo:
        with translated_os_errors(aside):
            aside.mkdir(mode=0o700, exist_ok=True)
        undo.callback(_remove_empty, aside)
        old = _settle(place, vfs)
        with replacing(place, part=aside / ".part", calls=calls) as file:
            _make(source, file.path, [old.head], now_us, vfs)
            made = verify(file.path)
            kept = _Kept(place, _free_name(aside, utc_stamp(now_us)), calls)
            undo.callback(kept.undo)
            kept.keep(is_whole=old.is_whole)
        undo.pop_all()
    return Restored(made, kept.path if old.is_there else None)


def _remove_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):  # it holds something that an earlier restore has kept
        directory.rmdir()


def _free_name(directory: Path, stamp: str) -> Path:
    """Return where nothing is yet, for the second restore in a second as well."""
    names = itertools.chain([stamp], (f"{stamp}-{nth}" for nth in itertools.count(2)))
    return next(p for p in (directory / f"{name}.db" for name in names) if not p.exists())


class _Old(NamedTuple):
    """The database that is to be replaced.

    Attributes:
        is_there: whether there is one.
        is_whole: whether all of it is in its one file.
        head: its last position; 0 when that is not known.
    """

    is_there: bool
    is_whole: bool
    head: int = 0


def _settle(place: Path, vfs: str | None) -> _Old:
    """Bring all of a database into its one file, if it can be opened at all.

    Raises:
        LogUnavailableError: somebody reads it, or the disk is full.
    """
    if not place.exists():
        return _Old(is_there=False, is_whole=False)
    try:
        return _Old(is_there=True, is_whole=True, head=_checkpoint(str(place), vfs))
    except LogFullError:
        raise
    except LogError as error:
        if isinstance(error.__cause__, apsw.BusyError):
            raise
        return _Old(is_there=True, is_whole=False)  # damaged, or of a newer format


def _checkpoint(path: str, vfs: str | None) -> int:
    connection = open_writer(path, vfs=vfs)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        with translated_errors(path):
            ((is_busy, _, _),) = fetch(connection, "pragma wal_checkpoint(truncate)")
            if is_busy:
                raise apsw.BusyError("someone is reading it; wait until they are done")
            return history.head(connection)
    finally:
        connection.close()


class _Kept:
    """The old database under its second name.

    Args:
        place: its first.
        path: its second.
        calls: the operating system.
    """

    def __init__(self, place: Path, path: Path, calls: Calls) -> None:
        self.path = path
        self._place = place
        self._calls = calls
        self._undo = contextlib.ExitStack()

    def keep(self, *, is_whole: bool) -> None:
        """Give it its second name, and leave nothing of it beside the first but the file itself.

        A whole one stays in its place until the new one is renamed over it. One that could not be
        opened leaves it first, because its WAL must go with it and cannot go at the same moment:
        better no database than half of one.
        """
        with translated_os_errors(self.path):
            if is_whole:
                self._calls.link(self._place, self.path)
                self._undo.callback(self._calls.remove, self.path)
            else:
                self._move("")
                self._move("-wal")
            self._calls.sync_directory(self.path.parent)
            self._calls.sync_directory(self._place.parent)
            for suffix in ("-wal", "-shm"):
                self._calls.remove(Path(f"{self._place}{suffix}"))
            self._calls.sync_directory(self._place.parent)

    def undo(self) -> None:
        """Have the old database in its place, and nowhere else."""
        self._undo.close()

    def _move(self, suffix: str) -> None:
        old, new = Path(f"{self._place}{suffix}"), Path(f"{self.path}{suffix}")
        if old.exists():
            self._calls.rename(old, new)
            self._undo.callback(self._calls.rename, new, old)


def _make(source: Source, part: Path, others: list[int], now_us: int, vfs: str | None) -> None:
    """Make the new database in an empty file, neither verified nor synced."""
    for suffix in ("-wal", "-shm", "-journal"):
        Path(f"{part}{suffix}").unlink(missing_ok=True)  # of one that was killed
    if not source.is_snapshot:
        copy(str(source.path), part, lambda path: open_still(path, vfs=vfs))
    connection = open_writer(str(part), vfs=vfs, pragmas=MAKING)
    try:
        with translated_errors(str(part)), connection:
            if source.is_snapshot:
                with SnapshotFile(source.path) as snapshot:
                    snapshot.verify()
                    _load(connection, snapshot, str(part))
            begins = begin(connection, others, now_us)
        with translated_errors(str(part)):
            _tell_anew(connection, begins, max(now_us, source.time_us))
    except CorruptRecordError as error:
        raise LogFormatError(f"{source.path}: the copy is not right: {error}") from error
    finally:
        connection.close()


def _tell_anew(connection: apsw.Connection, begins: int, now_us: int) -> None:
    """Append the state of each live node above where an epoch begins; see `eventlog.epochs`.

    In pieces, because a transaction keeps the pages that it changes in memory.
    """
    position, folds = begins, stored_folds(connection)
    while rows := fetch(connection, LIVE, (begins, BATCH)):
        drafts = [
            Draft(number, Modified(AUTHOR, state_of(codec.decode(record, at))))
            for number, at, record in rows
        ]
        with connection:
            transaction = Transaction(connection, folds, position, now_us)
            transaction.append(drafts)
        position = transaction.position
    with connection:
        transaction = Transaction(connection, folds, position, now_us)
        transaction.set_meta(HONOURED, str(begins))
        # A squash that was going on had other nodes to repeat.
        connection.execute("delete from meta where key = ?", (SQUASH,))


def _load(connection: apsw.Connection, snapshot: SnapshotFile, path: str) -> None:
    """Fill a new database with what a snapshot holds: a log of which all was compacted."""
    header = snapshot.header
    schema.ensure(connection, path, ())
    facts = header.meta | {
        "log_id": header.log_id,
        "id_prefix": header.id_prefix,
        MERGED: str(header.position),
        COMPACTED: str(header.position),
    }
    connection.execute("delete from meta")
    connection.executemany("insert into meta (key, value) values (?, ?)", facts.items())
    connection.executemany(INSERT, snapshot.rows())
    connection.execute("delete from sqlite_sequence where name = 'events'")
    connection.execute(
        "insert into sqlite_sequence (name, seq) values ('events', ?)", (header.position,)
    )
    schema.ensure(connection, path, FOLDS)


def utc_stamp(time_us: int) -> str:
    """Return a time as a part of a file name: `20260304T120000Z`.

    Args:
        time_us: microseconds since 1970 UTC.
    """
    return f"{dt.datetime.fromtimestamp(time_us // 1_000_000, dt.UTC):%Y%m%dT%H%M%SZ}"
