"""Prove that the log is whole, that what is derived from it is right, and that the disk agrees.

Nothing is changed. It works beside a running server: where tree and disk differ it looks again,
because a change may be on its way. Without a server, what changed since it stopped is shown as a
difference; the next start records it.
"""

import argparse
import contextlib
import threading
from collections.abc import Callable
from itertools import islice

import apsw
import msgspec

from eventlog.check import check as check_log
from eventlog.connection import open_reader, translated_errors
from projections.replay import compare
from tools import control, watching
from tools.config import Source, add_source_options, server_files, source
from tools.disk import Disagreement, DiskCheck
from tools.replay import in_lines
from tools.text import print_json, printable, shown_bytes

PROBLEMS_MAX = 1_000
"""More of a kind are not looked for: they have one cause."""

PATIENCE_SECONDS = (0.5, 2.0, 5.0)
"""Pauses before looking again at where tree and disk differ, while a server runs.

They begin anew whenever something has come right, or the server still has something to look at: a
large `rm -rf` takes it a while."""

PATIENCE_MAX_SECONDS = 120.0
"""How long a server may be busy without anything coming right."""

WALKS_MAX = 20
"""How often the disk is walked anew because `PROBLEMS_MAX` changes were on their way."""

Pause = Callable[[float], object]


class Report(msgspec.Struct):
    """What was found.

    Attributes:
        ok: nothing is wrong.
        log: what is wrong with the log.
        derived: what is wrong with the tables derived from it.
        disk: where tree and disk differ.
        events: how many events were looked at.
        entries: how many nodes were looked for on the disk.
        skipped: roots and directories that could not be compared with the disk, with the reason.
        running: whether a server runs on this log.
    """

    ok: bool = False
    log: list[str] = []
    derived: list[str] = []
    disk: list[str] = []
    events: int = 0
    entries: int = 0
    skipped: list[str] = []
    running: bool = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument("--no-disk", action="store_true", help="leave the disk alone")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Check it all."""
    report = examine(source(arguments), threading.Event().wait, disk=not arguments.no_disk)
    if arguments.json:
        print_json(report)
    else:
        print("\n".join(in_words(report, disk=not arguments.no_disk)))
    return 0 if report.ok else 1


def examine(of: Source, pause: Pause, *, disk: bool = True) -> Report:
    """Check a log, and what it says about the disk.

    Args:
        of: the log.
        pause: waits for some seconds.
        disk: whether to look at the disk as well.

    Returns:
        What was found.

    Raises:
        LogError: the log cannot be read at all.
    """
    report = Report(running=control.is_running(of.database))
    connection = open_reader(of.database)
    try:
        report.log = list(islice(check_log(connection), PROBLEMS_MAX))
        if not report.log:  # what is derived from a broken log says nothing
            with translated_errors(of.database):
                _examine_derived(connection, report)
                if disk:
                    _examine_disk(connection, of, report, pause)
    finally:
        connection.close()
    report.ok = not (report.log or report.derived or report.disk)
    return report


def in_words(report: Report, *, disk: bool) -> list[str]:
    """Return a report as lines for people."""
    lines = [*_part("log", report.log, f"{report.events:,} events, all well")]
    if not report.log:
        lines += _part("derived tables", report.derived, "exactly what the log says")
        if disk:
            lines += _part("disk", report.disk, f"{report.entries:,} entries, all as in the tree")
            lines += [f"not compared: {line}" for line in report.skipped]
    if report.derived:
        lines.append("run nasfeed replay to make the derived tables anew")
    if report.disk and not report.running:
        lines.append("no server is running: its next start records what has changed since")
    return lines


def _part(name: str, problems: list[str], praise: str) -> list[str]:
    if not problems:
        return [f"{name}: {praise}"]
    more = " or more" if len(problems) == PROBLEMS_MAX else ""
    return [f"{name}: {len(problems):,}{more} problems", *(f"  {line}" for line in problems)]


def _examine_derived(connection: apsw.Connection, report: Report) -> None:
    result = compare(connection)
    report.events = result.events
    report.derived = in_lines(result)


def _examine_disk(connection: apsw.Connection, of: Source, report: Report, pause: Pause) -> None:
    # A running server knows best what it leaves out: it may have been told by another file.
    served = watching.ask(of.database)
    exclude = of.exclude if served is None else tuple(served.exclude)
    own = server_files(of.database, of.log_path, of.snapshots, of.archive)
    check = DiskCheck(connection, exclude, own if served is None else served.files)
    try:
        found = _compared(check, of.database, report, pause)
        report.disk = [_line(check, disagreement) for disagreement in found]
        report.entries = check.counts.entries
        report.skipped += [printable(line) for line in dict.fromkeys(check.counts.skipped)]
    finally:
        check.close()


def _compared(check: DiskCheck, database: str, report: Report, pause: Pause) -> list[Disagreement]:
    """Walk the disk; again, if only changes on their way kept the first walk from its end."""
    for _ in range(WALKS_MAX):
        with contextlib.closing(check.compare()) as walk:
            found = list(islice(walk, PROBLEMS_MAX))
        is_cut = len(found) == PROBLEMS_MAX
        if report.running:
            found = _lasting(check, found, database, pause)
        if found or not is_cut:
            return found
    report.skipped = ["the rest of the disk: it changes faster than it can be compared; try later"]
    return []


def _lasting(
    check: DiskCheck, found: list[Disagreement], database: str, pause: Pause
) -> list[Disagreement]:
    """Return what still differs when the server has nothing left to do, or makes no progress."""
    patience, waited = iter(PATIENCE_SECONDS), 0.0
    while found and waited < PATIENCE_MAX_SECONDS and (seconds := next(patience, None)):
        pause(seconds)
        waited += seconds
        served = watching.ask(database)
        again = [check.look_again(disagreement) for disagreement in found]
        left = [disagreement for disagreement in again if disagreement is not None]
        if len(left) < len(found):
            waited = 0.0
        if len(left) < len(found) or (served is not None and served.busy):
            patience = iter(PATIENCE_SECONDS)
        found = left
    return found


def _line(check: DiskCheck, found: Disagreement) -> str:
    return f"{shown_bytes(check.path(found.place))}: {found.problem}"
