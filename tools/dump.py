"""Print the log: what happened, when, to what. Works beside a running server.

Directories are shown under the name that they have now, or had last. All filters must hold for an
event to be shown. Times are RFC 3339, as 2026-03-04T12:00:00Z, without a zone those of this
machine, or a length of time until now: 90s, 30m, 2h, 7d, 1w.
"""

import argparse
import sys
from collections.abc import Iterator
from typing import NamedTuple

import apsw

from eventlog import history
from eventlog.connection import open_reader, translated_errors
from eventlog.events import Moved, Record
from projections.last_paths import LastPaths
from tools import arguments as kinds_of
from tools.config import add_source_options, database_path
from tools.errors import OperatorError
from tools.record_text import KINDS, Shower


class Filter(NamedTuple):
    """Which events are shown.

    Attributes:
        after, upto: positions above the one and up to the other.
        node: number of a node, or None.
        kinds: names of kinds of events; empty for all.
        below: a path without a slash at its end, or None: at or below it.
    """

    after: int
    upto: int
    node: int | None
    kinds: frozenset[str]
    below: bytes | None


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
    add("--json", action="store_true", help="one JSON object a line, with all that is known")


def run(arguments: argparse.Namespace) -> int:
    """Print what the filters let through."""
    database = database_path(arguments)
    connection = open_reader(database)
    with translated_errors(database):
        wanted = _filter(arguments, connection)
        paths = LastPaths(connection)
        shower = Shower(paths, history.node_ids(connection))
        show = shower.json_line if arguments.json else shower.table_line
        for record in select(connection, wanted, paths):
            sys.stdout.write(show(record))
    return 0


def select(connection: apsw.Connection, wanted: Filter, paths: LastPaths) -> Iterator[Record]:
    """Read the events that a filter lets through, in order, in constant memory.

    Args:
        connection: a reader's.
        wanted: the filter.
        paths: says where nodes are.
    """
    for record in history.read(connection, wanted.after, wanted.upto, wanted.node):
        if wanted.kinds and KINDS[type(record.event)] not in wanted.kinds:
            continue
        if wanted.below is None or _is_below(record, wanted.below, paths):
            yield record


def _is_below(record: Record, top: bytes, paths: LastPaths) -> bool:
    """Also of what was moved away from there."""
    event = record.event
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
    if arguments.since is not None:
        after = max(after, history.last_before(connection, arguments.since))
    if arguments.until is not None:
        upto = min(upto, history.last_before(connection, arguments.until))
    node = None if arguments.node is None else _node(arguments.node, connection)
    return Filter(after, upto, node, frozenset().union(*arguments.kind), arguments.path)


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
