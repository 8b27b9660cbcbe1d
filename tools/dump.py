"""Print the log: who did what, when, to what. Works beside a running server.

What compaction dropped is read from the archive, if there is one. Directories are shown under the
names that they had then, as far as log and archive tell; --path takes those and the last ones. All
filters must hold for an event to be shown. Times are RFC 3339, as 2026-03-04T12:00:00Z, without a
zone those of this machine, or a length of time until now: 90s, 30m, 2h, 7d, 1w.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import apsw

from eventlog import history, whole
from eventlog.archive import ARCHIVE_PATH, Archive
from eventlog.connection import fetch, open_reader, translated_errors
from eventlog.events import Moved, Record
from eventlog.library import LibraryEvent
from projections.last_paths import LastPaths
from projections.paths_then import PathsThen
from tools import arguments as kinds_of
from tools.config import add_source_options, database_path
from tools.errors import OperatorError
from tools.record_text import KINDS, Shower


class Filter(NamedTuple):
    """Which events are shown.

    Attributes:
        after, upto: positions above the one and up to the other.
        since_us, until_us: from the one time on, until before the other.
        node: number of a node, or None.
        kinds: names of kinds of events; empty for all.
        author: who did it, the empty string for what was merely seen on the disk; None: all.
        below: a path without a slash at its end, or None: at or below it.
    """

    after: int
    upto: int
    since_us: int = 0
    until_us: int = 2**63
    node: int | None = None
    kinds: frozenset[str] = frozenset()
    author: str | None = None
    below: bytes | None = None


class Paths(NamedTuple):
    """Where nodes were and are.

    Attributes:
        then: at the time of an event.
        last: now, or last.
    """

    then: PathsThen
    last: LastPaths


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    add = parser.add_argument
    at, when = kinds_of.position, kinds_of.time_us
    add("--from", dest="first", metavar="POSITION", type=at, default=1, help="at or above it")
    add("--to", dest="last", metavar="POSITION", type=at, help="at or below it")
    add("--since", metavar="TIME", type=when, help="at this time or later")
    add("--until", metavar="TIME", type=when, help="before this time")
    add("--path", metavar="PATH", type=kinds_of.path, help="about it, or anything below it")
    add("--node", metavar="ID", help="about one node: its id in the feed, or its number")
    add(
        "--kind",
        metavar="KIND",
        action="append",
        type=_kinds,
        default=[],
        help=f"only these, separated by commas: {', '.join(KINDS.values())}",
    )
    add("--author", metavar="NAME", help="only what this user or face did; '': nobody known")
    add("--archive", metavar="DIR", help="where the archive is now (default: as recorded)")
    add("--no-archive", action="store_true", help="only what is still in the log")
    add("--json", action="store_true", help="one JSON object a line, with all that is known")


def run(arguments: argparse.Namespace) -> int:
    """Print what the filters let through."""
    database = database_path(arguments)
    connection = open_reader(database)
    with translated_errors(database):
        wanted = _filter(arguments, connection)
        archive = _archive(arguments, connection)
        _tell_missing(archive, connection, wanted)
        gone = whole.gone_directories(connection, archive)
        moves = whole.moved_directories(connection, archive, wanted.after)
        paths = Paths(PathsThen(connection, gone, moves), LastPaths(connection, gone))
        shower = Shower(paths.then, history.node_ids(connection))
        show = shower.json_line if arguments.json else shower.table_line
        found = whole.read(connection, archive, wanted.after, wanted.upto, wanted.node)
        count = 0
        for record in select(found, wanted, paths):
            sys.stdout.write(show(record))
            count += 1
    if not count and arguments.path:
        path = os.fsdecode(arguments.path)
        print(f"nasfeed: {path}: no such event; is the path absolute and right?", file=sys.stderr)
    return 0


def select(records: Iterator[Record], wanted: Filter, paths: Paths) -> Iterator[Record]:
    """Let the events through that a filter wants, in order, in constant memory.

    Args:
        records: in order of position; within the filter's positions.
        wanted: the filter.
        paths: says where nodes are; `then` goes on to the position of each record.
    """
    for record in records:
        if record.time_us >= wanted.until_us:
            return  # times never fall
        paths.then.advance(record.position)
        if record.time_us >= wanted.since_us and _is_wanted(record, wanted, paths):
            yield record


def _is_wanted(record: Record, wanted: Filter, paths: Paths) -> bool:
    return (
        (not wanted.kinds or KINDS[type(record.event)] in wanted.kinds)
        and _is_by(record.event.author, wanted.author)
        and (wanted.below is None or any(_is_below(record, wanted.below, of) for of in paths))
    )


def _is_by(author: str, wanted: str | None) -> bool:
    """Say whether it is the one; `library:anna` is `anna` and `library` as well."""
    face, _, user = author.partition(":")
    return wanted in (None, author) or (bool(wanted) and wanted in (face, user))


def _is_below(record: Record, top: bytes, paths: LastPaths) -> bool:
    """Also of what was moved away from there. What is of the library is nowhere."""
    event = record.event
    if isinstance(event, LibraryEvent):
        return False
    if _contains(top, paths.of(event)):
        return True
    return isinstance(event, Moved) and _contains(
        top, paths.join(event.from_parent, event.from_name)
    )


def _contains(top: bytes, path: bytes) -> bool:
    return path == top or path.startswith(top + b"/")


def _filter(arguments: argparse.Namespace, connection: apsw.Connection) -> Filter:
    after, upto = arguments.first - 1, history.head(connection)
    if arguments.last is not None:
        upto = min(upto, arguments.last)
    wanted = Filter(
        after,
        upto,
        node=None if arguments.node is None else _node(arguments.node, connection),
        kinds=frozenset().union(*arguments.kind),
        author=arguments.author,
        below=arguments.path,
    )
    if arguments.since is not None:
        # Where to begin; between this event and the time there may be others in the archive.
        begin = max(after, history.last_before(connection, arguments.since))
        wanted = wanted._replace(after=begin, since_us=arguments.since)
    if arguments.until is not None:
        wanted = wanted._replace(until_us=arguments.until)
    return wanted


def _archive(arguments: argparse.Namespace, connection: apsw.Connection) -> Archive | None:
    if arguments.no_archive:
        return None
    recorded = fetch(connection, history.META, (ARCHIVE_PATH,))
    if arguments.archive:
        return Archive(str(Path(arguments.archive).absolute()))
    return Archive(recorded[0][0]) if recorded else None


def _tell_missing(archive: Archive | None, connection: apsw.Connection, wanted: Filter) -> None:
    """Say what is not shown because files of the archive were taken away."""
    if archive is None:
        return
    for first, last in archive.missing(connection, wanted.after, wanted.upto):
        print(
            f"nasfeed: {archive.path}: the file of positions {first} to {last} is"
            " missing; of those only what is left in the log is shown",
            file=sys.stderr,
        )


def _node(text: str, connection: apsw.Connection) -> int:
    """Read a node's number, or its id as the feed gives it."""
    number = int(text) if text.isascii() and text.isdigit() else None
    number = number or history.node_ids(connection).to_number(text)
    if not number:
        raise OperatorError(f"{text!r} is no node of this log: give an id of the feed, or a number")
    return number


def _kinds(text: str) -> frozenset[str]:
    wanted = frozenset(text.split(","))
    if unknown := sorted(wanted - set(KINDS.values())):
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is no kind of event: {', '.join(KINDS.values())}"
        )
    return wanted
