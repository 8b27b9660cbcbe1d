"""Rebuild everything that is derived from the log, or prove that it need not be.

The tables of the tree and whatever else is derived are dropped and made again from the events, in
one transaction: a running server only waits. With --check nothing is changed.

With --from-snapshot only what was appended after the snapshot is replayed. The result is the same;
`nasfeed replay --check` proves it.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from eventlog import schema
from eventlog.clock import SystemClock
from eventlog.connection import open_reader, open_writer, translated_errors
from eventlog.errors import LogError, LogMissingError
from projections.from_snapshot import check_fits, filling
from projections.replay import Comparison, Fill, compare, rebuild
from projections.snapshot_file import SnapshotFile
from projections.snapshot_store import SnapshotStore
from tools.config import Source, add_source_options, snapshot_directory, source
from tools.errors import OperatorError
from tools.text import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument(
        "--check", action="store_true", help="only compare what is stored with the log"
    )
    parser.add_argument(
        "--from-snapshot",
        metavar="FILE",
        nargs="?",
        const="",
        help="begin with this snapshot (default: the newest usable one) and replay what came after",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Rebuild, or compare."""
    of = source(arguments)
    with contextlib.ExitStack() as files:
        fill: Fill = schema.fold_all
        if arguments.from_snapshot is not None:
            fill = filling(files.enter_context(_snapshot(of, arguments.from_snapshot)))
        if arguments.check:
            return _report_check(check(of.database, fill), as_json=arguments.json)
        from_snapshot = arguments.from_snapshot is not None
        return _replay(of.database, fill, from_snapshot=from_snapshot, as_json=arguments.json)


def _replay(database: str, fill: Fill, *, from_snapshot: bool, as_json: bool) -> int:
    clock = SystemClock()
    began = clock.monotonic()
    events = replay(database, fill)
    seconds = round(clock.monotonic() - began, 3)
    if as_json:
        print_json({"events": events, "seconds": seconds})
    else:
        what = "nodes of the snapshot and events after it" if from_snapshot else "events"
        print(f"{events:,} {what} replayed in {seconds} s; all that is derived from them is new")
    return 0


def _snapshot(of: Source, given: str) -> SnapshotFile:
    """Open a snapshot that is whole: the given one, or the newest; tell which are passed over."""
    if given:
        return _verified(Path(given), of.database)
    store = SnapshotStore(snapshot_directory(of.database, of.snapshots))
    for listed in store.files():
        try:
            return _verified(listed.path, of.database)
        except LogError as error:
            print(f"nasfeed: passed over: {error}", file=sys.stderr)
    raise OperatorError(
        f"{store.directory}: no snapshot here can be used; replay the log without --from-snapshot"
    )


def _verified(path: Path, database: str) -> SnapshotFile:
    """Open a snapshot that fits a log, and read all of it."""
    if path.is_dir():
        raise OperatorError(f"{path}: this is a directory; name directories before --from-snapshot")
    with contextlib.ExitStack() as undo:
        file = undo.enter_context(SnapshotFile(path))
        with contextlib.closing(open_reader(database)) as connection:
            check_fits(connection, file)
        file.verify()
        undo.pop_all()
        return file


def replay(database: str, fill: Fill = schema.fold_all) -> int:
    """Rebuild every projection of a log.

    Args:
        database: the log.
        fill: how: by the whole log, or beginning with a snapshot.

    Returns:
        How many events were folded.

    Raises:
        LogError: it cannot be done; then nothing was changed.
    """
    if not Path(database).exists():
        raise LogMissingError(database)  # the writer would make a new one
    connection = open_writer(database)
    try:
        with translated_errors(database):
            return rebuild(connection, fill=fill)
    finally:
        connection.close()


def check(database: str, fill: Fill = schema.fold_all) -> Comparison:
    """Compare what is stored with what the log says.

    Args:
        database: the log.
        fill: see `replay`.

    Raises:
        LogError: the log cannot be read.
    """
    connection = open_reader(database)
    try:
        with translated_errors(database):
            return compare(connection, fill=fill)
    finally:
        connection.close()


def in_lines(result: Comparison) -> list[str]:
    """Return the differences that a comparison found, one line each."""
    lines = [
        f"table {d.table}: stored {d.stored}, but the log says {d.replayed}"
        for d in result.differences
    ]
    if result.different > len(lines):
        lines.append(f"and {result.different - len(lines):,} more rows differ")
    return lines


def _report_check(result: Comparison, *, as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "events": result.events,
                "rows": result.rows,
                "different": result.different,
                "differences": in_lines(result),
            }
        )
    elif result.different:
        print(*in_lines(result), sep="\n")
        print("run nasfeed replay to mend this")
    else:
        print(f"{result.events:,} events give exactly the {result.rows:,} rows that are stored")
    return 1 if result.different else 0
