"""Forget everything but what is there now: removals, too, which compaction has to keep.

Clients whose cursor is older than now are told to begin anew (410) and read everything again.
Those that are up to date are told every node once more. Node ids stay. The running server does it
beside its work; without one it is done here.
"""

import argparse
import sys
import threading

import msgspec

from eventlog.clock import SystemClock
from eventlog.connection import open_reader, translated_errors
from projections.squash import Squashed, count_tombstones
from projections.tree import Tree
from tools import asking, control
from tools.compact import alone
from tools.config import Source, add_source_options, source
from tools.control import Report
from tools.progress import Progress, Step
from tools.text import print_json, size


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Ask, and squash."""
    of = source(arguments)
    asking.confirm(_question(of), yes=arguments.yes)
    progress = Progress(sys.stderr, SystemClock())
    try:
        result = squash(of, progress.show)
    finally:
        progress.clear()
    if arguments.json:
        print_json(result)
    else:
        print(_in_words(result))
    return 0 if result.complete else 1


def squash(of: Source, report: Report) -> Squashed:
    """Have the server squash its log, or do it here when none runs.

    Args:
        of: the log.
        report: told how far it is.

    Raises:
        LogError: it could not be done.
    """

    def told(done: int, total: int) -> None:
        report(Step("squashing", "nodes", done, total))

    try:
        made = control.call(of.database, "squash", {}, report)
    except control.NotRunningError:
        with alone(of) as maintenance:
            return maintenance.squash(threading.Event(), report=told)
    return msgspec.convert(made, Squashed)


def _question(of: Source) -> str:
    connection = open_reader(of.database)
    try:
        with translated_errors(of.database):
            gone, live = count_tombstones(connection), Tree(connection).count()
    finally:
        connection.close()
    kept = " The archive keeps all events." if of.archive else ""
    return (
        f"Forget {gone:,} removals and all history of {live:,} nodes in {of.database}? Clients with"
        f" an older cursor will have to begin anew.{kept}"
    )


def _in_words(result: Squashed) -> str:
    if not result.complete:
        return "stopped before it was done; nothing is lost, run it again to go on"
    archived = f", {result.archived:,} archived" if result.archived else ""
    return (
        f"{result.nodes:,} nodes kept, {result.dropped:,} events dropped{archived}; cursors below"
        f" {result.floor:,} are refused; the database is {size(result.freed_bytes)} smaller"
    )
