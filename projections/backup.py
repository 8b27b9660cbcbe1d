"""Copies a whole log into one file, beside a running server, and proves that the copy is right."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

from eventlog import history
from eventlog.check import check
from eventlog.connection import fetch, open_reader, open_still, translated_errors
from eventlog.durable import SYSTEM, Calls
from eventlog.errors import LogFormatError, LogFullError
from eventlog.replacing import replacing, translated_os_errors
from projections.replay import compare

COPY = "vacuum into ?"
"""Not the backup API: that copies page by page what a writer may change meanwhile, and begins anew
when one does. This reads in one transaction, leaves out free pages, and makes a file that needs no
write-ahead log beside it (https://www.sqlite.org/lang_vacuum.html#vacuuminto)."""

LOG_ID = "select value from meta where key = 'log_id'"
COUNT = "select count(*) from events"

Open = Callable[[str], apsw.Connection]


class Backup(NamedTuple):
    """A copy of a log.

    Attributes:
        head: its last position.
        log_id: epoch of its positions.
        events: how many events it holds.
        size: bytes.
    """

    head: int
    log_id: str
    events: int
    size: int


def back_up(
    database: str, target: Path, calls: Calls = SYSTEM, open_: Open = open_reader
) -> Backup:
    """Write a copy of a log as it is now; what is at the target is replaced at the end.

    Args:
        database: the log; a server may go on appending to it.
        target: the file.
        calls: the operating system.
        open_: opens the log; another one is for tests.

    Returns:
        What was copied.

    Raises:
        LogError: it could not be read, or written, or the copy is not right.
    """
    with replacing(target, calls=calls) as file:
        copy(database, file.path, open_)
        return verify(file.path)


def copy(database: str, target: Path, open_: Open) -> None:
    """Copy a log into an empty file, neither verified nor synced."""
    connection = open_(database)
    try:
        with translated_errors(database):
            fetch(connection, COPY, (str(target),))
    except LogFullError as error:  # only the copy was written, and it may be on another disk
        raise LogFullError(f"{target}: the disk is full; free some space") from error
    finally:
        connection.close()


def verify(path: Path) -> Backup:
    """Read a copy to its end: the file, every record, and what is derived from them.

    Raises:
        LogFormatError: something is wrong; the message names the first problem.
    """
    connection = open_still(str(path))
    try:
        with translated_errors(str(path)), translated_os_errors(path):
            for problem in check(connection):
                raise _wrong(path, problem)
            for difference in compare(connection).differences:
                raise _wrong(path, f"{difference}; run nasfeed replay on what was copied")
            ((log_id,),) = fetch(connection, LOG_ID)
            ((events,),) = fetch(connection, COUNT)
            return Backup(history.head(connection), log_id, events, path.stat().st_size)
    finally:
        connection.close()


def _wrong(path: Path, problem: str) -> LogFormatError:
    return LogFormatError(f"{path}: the copy is not right: {problem}")
