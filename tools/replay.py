"""Rebuild everything that is derived from the log, or prove that it need not be.

The tables of the tree and whatever else is derived are dropped and made again from the events, in
one transaction: a running server only waits. With --check nothing is changed.
"""

import argparse
from pathlib import Path

from eventlog.clock import SystemClock
from eventlog.connection import open_reader, open_writer, translated_errors
from eventlog.errors import LogMissingError
from projections.replay import Comparison, compare, rebuild
from tools.config import add_source_options, database_path
from tools.text import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument(
        "--check", action="store_true", help="only compare what is stored with the log"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Rebuild, or compare."""
    database = database_path(arguments)
    if arguments.check:
        return _report_check(check(database), as_json=arguments.json)
    clock = SystemClock()
    began = clock.monotonic()
    events = replay(database)
    seconds = round(clock.monotonic() - began, 3)
    if arguments.json:
        print_json({"events": events, "seconds": seconds})
    else:
        print(f"{events:,} events replayed in {seconds} s; all that is derived from them is new")
    return 0


def replay(database: str) -> int:
    """Rebuild every projection of a log.

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
            return rebuild(connection)
    finally:
        connection.close()


def check(database: str) -> Comparison:
    """Compare what is stored with what the log says.

    Raises:
        LogError: the log cannot be read.
    """
    connection = open_reader(database)
    try:
        with translated_errors(database):
            return compare(connection)
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
