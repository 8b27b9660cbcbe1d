"""Opens SQLite connections: every PRAGMA with its reason, and the one seam for SQLite's errors."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw

from eventlog.errors import (
    LogError,
    LogFormatError,
    LogFullError,
    LogMissingError,
    LogUnavailableError,
)

APPLICATION_ID = 0x6E617366
"""Marks the file as ours, "nasf" (https://www.sqlite.org/pragma.html#pragma_application_id)."""

FORMAT = 1
"""Version of the stored format, in `user_version`."""

BUSY_TIMEOUT_MS = 60_000
"""A replay from another process may hold the file for long; nobody else ever does."""

_AUTO_VACUUM_INCREMENTAL = 2

_NO_SPACE = (apsw.SQLITE_IOERR_SHMSIZE,)
"""The shared memory cannot grow: SQLite has no other word for a full disk there."""

_SYNCHRONOUS_FULL = 2

WRITER_PRAGMAS: Mapping[str, int | str] = {
    # Readers go on while the writer commits, and a commit costs one sync.
    "journal_mode": "wal",
    # A position once told must survive a power cut; NORMAL loses the newest commits.
    "synchronous": _SYNCHRONOUS_FULL,
    # Pages of 4 KiB times this much cache; the tree's upper pages stay in memory.
    "cache_size": -16_384,
    # Few enough to keep the WAL small, many enough that a scan does not checkpoint all the time.
    "wal_autocheckpoint": 4_000,
    # A WAL that grew in a burst is cut back to this many bytes.
    "journal_size_limit": 64 * 2**20,
    # Sorting must not depend on a writable /tmp.
    "temp_store": 2,
}
"""Settings of the writer; each is read back, and one that did not take is refused."""

_READER_PRAGMAS: Mapping[str, int | str] = {"cache_size": -4_096, "temp_store": 2}


@contextlib.contextmanager
def translated_errors(path: str) -> Iterator[None]:
    """Turn SQLite's errors into this package's.

    Args:
        path: the database, for the message.

    Raises:
        LogFullError: the disk is full.
        LogFormatError: the file is damaged or no database.
        LogUnavailableError: anything else that SQLite reports.
    """
    try:
        yield
    except (apsw.FullError, apsw.IOError) as error:
        if isinstance(error, apsw.FullError) or getattr(error, "extendedresult", 0) in _NO_SPACE:
            raise LogFullError(f"{path}: the disk is full; free some space: {error}") from error
        raise LogUnavailableError(
            f"{path}: {error}; look for errors of the disk in the kernel's messages (dmesg)"
        ) from error
    except (apsw.NotADBError, apsw.CorruptError) as error:
        raise LogFormatError(
            f"{path}: damaged, or no database ({error}); restore it from a backup that is whole"
        ) from error
    except apsw.Error as error:
        raise LogUnavailableError(f"{path}: {error}") from error


def make_directory(path: str) -> None:
    """Make the directory of a database.

    Raises:
        LogUnavailableError: it cannot be made.
    """
    directory = Path(path).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LogUnavailableError(
            f"{directory}: cannot make the database's directory: {error.strerror}"
        ) from error


def open_writer(
    path: str, *, vfs: str | None = None, pragmas: Mapping[str, int | str] = WRITER_PRAGMAS
) -> apsw.Connection:
    """Open the one connection that writes, making an empty database when there is none.

    Everything that the connection then shows is on the disk: see `make_durable`.

    Args:
        path: the database file.
        vfs: name of an APSW VFS, for tests that cut the power.
        pragmas: the settings; other ones are for tests that show what these are good for.

    Returns:
        A connection whose settings were read back and are what was asked for.

    Raises:
        LogFormatError: the file is something else, or newer than the program; it is left as it was.
        LogError: it cannot be opened, or a setting did not take (a filesystem without locks or
            shared memory, such as a network share).
    """
    with translated_errors(path), contextlib.ExitStack() as undo:
        connection = apsw.Connection(path, vfs=vfs)
        undo.callback(connection.close)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        if _pragma(connection, "page_count") == 0:
            # Only settable before the first table; gives space back after a compaction.
            connection.pragma("auto_vacuum", _AUTO_VACUUM_INCREMENTAL)
        elif not is_empty(connection):
            # Before any setting: the journal mode is stored in the file, and it may not be ours.
            check_format(connection, path)
        _apply(connection, path, pragmas)
        make_durable(connection)
        undo.pop_all()
        return connection


def make_durable(connection: apsw.Connection) -> None:
    """Have everything that the connection can see synced to the disk.

    A writer that is killed between the write of a commit and its sync leaves a whole commit that
    is in memory only. SQLite finds it valid when it opens the file again, and does not sync it:
    its positions would be told, and then lost in a power cut. A checkpoint begins with the sync
    (https://www.sqlite.org/wal.html#checkpointing).
    """
    # On a full disk only what follows the sync fails, and that waits until there is space again.
    with contextlib.suppress(apsw.FullError):
        connection.execute("pragma wal_checkpoint(passive)").fetchall()


def open_reader(path: str) -> apsw.Connection:
    """Open a read-only connection.

    Raises:
        LogMissingError: there is no such file.
        LogError: it cannot be opened or is no log of a known format.
    """
    if not Path(path).exists():
        raise LogMissingError(path)
    with translated_errors(path), contextlib.ExitStack() as undo:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        undo.callback(connection.close)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        _apply(connection, path, _READER_PRAGMAS)
        check_format(connection, path)
        undo.pop_all()
        return connection


def open_still(path: str, *, vfs: str | None = None) -> apsw.Connection:
    """Open a database that nobody writes, such as a backup, also where nothing can be written.

    A reader of a database in WAL mode makes files beside it, unless it is told that the file will
    not change (https://www.sqlite.org/uri.html#uriimmutable). With a write-ahead log of its own
    beside it, the file is only a part of the database, and must be read in the usual way.

    Args:
        path: the database file.
        vfs: name of an APSW VFS, for tests that cut the power.

    Raises:
        LogMissingError: there is no such file.
        LogError: it cannot be opened or is no log of a known format.
    """
    if not Path(path).exists():
        raise LogMissingError(path)
    wal = Path(f"{path}-wal")
    if wal.exists() and wal.stat().st_size:
        return open_reader(path)
    with translated_errors(path), contextlib.ExitStack() as undo:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        connection = apsw.Connection(f"file:{quote(path)}?immutable=1", flags=flags, vfs=vfs)
        undo.callback(connection.close)
        _apply(connection, path, _READER_PRAGMAS)
        check_format(connection, path)
        undo.pop_all()
        return connection


def fetch(
    connection: apsw.Connection, query: str, bindings: Sequence[object] = ()
) -> list[tuple[Any, ...]]:
    """Run one query to its end, so that no read transaction stays open behind it."""
    return connection.execute(query, bindings).fetchall()


def is_empty(connection: apsw.Connection) -> bool:
    """Return whether this is a database in which nobody has made anything yet."""
    tables = connection.execute("select count(*) from sqlite_schema").get
    return not tables and not _pragma(connection, "user_version")


def check_format(connection: apsw.Connection, path: str) -> None:
    """Refuse a file that is not a log of the one format that this program knows.

    Raises:
        LogFormatError: it is not.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise LogFormatError(f"{path}: this is no nasfeed database; give another --db")
    found = _pragma(connection, "user_version")
    if found != FORMAT:
        raise LogFormatError(
            f"{path}: format {found} is not known here (this nasfeed knows {FORMAT}); "
            "use a newer nasfeed"
        )


def _apply(connection: apsw.Connection, path: str, pragmas: Mapping[str, int | str]) -> None:
    for name, value in pragmas.items():
        connection.pragma(name, value)
        found = _pragma(connection, name)
        if found != value:
            raise LogError(
                f"{path}: SQLite keeps {name}={found} instead of {value}; "
                "put the database on a local disk"
            )


def _pragma(connection: apsw.Connection, name: str) -> object:
    return connection.pragma(name)
