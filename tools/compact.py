"""Make the log small: of what is older than the history window, keep only each node's last event.

No client can tell: every cursor is answered as before. The running server does it beside its work,
and does it by itself once a day. Without a server it is done here. What was done stays done when it
is stopped.
"""

import argparse
import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from eventlog.archive import ARCHIVE_PATH
from eventlog.ballast import Ballast
from eventlog.clock import SystemClock
from eventlog.compaction import Result, preview
from eventlog.connection import open_reader, translated_errors
from eventlog.errors import LogMissingError
from eventlog.fold import Fold
from eventlog.log import Log
from projections.replay import stored_folds
from tools import control
from tools.config import Source, add_source_options, source
from tools.control import Report
from tools.maintenance import Maintenance, window_us
from tools.progress import Progress, Step
from tools.snapshots import Snapshots
from tools.text import print_json, size

HISTORY_DAYS_MAX = 36_500
"""As in the configuration file."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument(
        "--history-days",
        metavar="DAYS",
        type=_days,
        help="keep every event for so long (default: as configured, else 30)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be dropped")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Compact, and say what came of it."""
    of = source(arguments)
    days = arguments.history_days
    if arguments.dry_run:
        result = _preview(of, of.history_days if days is None else days)
    else:
        progress = Progress(sys.stderr, SystemClock())
        try:
            result = compact(of, days, progress.show)
        finally:
            progress.clear()
    if arguments.json:
        print_json(result)
    else:
        print(in_words(result, would=arguments.dry_run))
    return 0


def compact(of: Source, days: float | None, report: Report) -> Result:
    """Have the server compact its log, or do it here when none runs.

    Args:
        of: the log.
        days: history window; None: as configured.
        report: told how far it is.
    """
    try:
        made = control.call(of.database, "compact", {"history_days": days}, report)
    except control.NotRunningError:
        with alone(of, days) as maintenance:
            return maintenance.compactor.run(threading.Event(), report=_told(report))
    return msgspec.convert(made, Result)


@contextlib.contextmanager
def alone(of: Source, days: float | None = None) -> Iterator[Maintenance]:
    """Hold a log that no server holds, to work on it here, also on a full disk.

    Raises:
        LogError: there is none, or it is in use after all.
    """
    if not Path(of.database).exists():
        raise LogMissingError(of.database)
    with Ballast(of.database).spent():
        log = Log(of.database, folds_of(of.database))
        try:
            yield _maintenance(of, days, log)
        finally:
            log.close()
        if log.failure is not None:
            raise log.failure


def _maintenance(of: Source, days: float | None, log: Log) -> Maintenance:
    # A log that has an archive keeps it, also when the command was not told of it.
    archive = of.archive or log.call(lambda transaction: transaction.meta(ARCHIVE_PATH))
    kept_days = of.history_days if days is None else days
    clock = SystemClock()
    before = Snapshots(of.database, of.snapshots, clock).before_compaction
    return Maintenance(log, clock, kept_days, archive, before)


def in_words(result: Result, *, would: bool) -> str:
    """Return a result as a line for people."""
    verb = "would be " if would else ""
    line = (
        f"{result.dropped:,} events {verb}dropped ({size(result.dropped_bytes)}),"
        f" history {verb}merged up to position {result.merged:,}"
    )
    if would:
        return line
    archived = f", {result.archived:,} archived" if result.archived else ""
    return (
        f"{line}{archived}; the database is {size(result.freed_bytes)} smaller,"
        f" in {result.seconds:.1f} s; the writer was held for {result.longest_hold_ms:.0f} ms"
        " at most"
    )


def _told(report: Report) -> Callable[[int, int], None]:
    return lambda done, of: report(Step("compacting", "positions", done, of))


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1
    if not 0 <= days <= HISTORY_DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def folds_of(database: str) -> tuple[Fold, ...]:
    """Return the projections that are kept up to date in a log; see `stored_folds`."""
    with translated_errors(database), contextlib.closing(open_reader(database)) as reader:
        return stored_folds(reader)


def _preview(of: Source, days: float) -> Result:
    connection = open_reader(of.database)
    try:
        with translated_errors(of.database):
            return preview(connection, window_us(days), SystemClock().now_us())
    finally:
        connection.close()
