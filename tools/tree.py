"""Print what is in a directory, or what was in it at a position of the log or before a time.

What is named need not exist any more; where nothing is named, all served directories are printed.
Times are RFC 3339, as 2026-03-04T12:00:00Z, without a zone those of this machine, or a length of
time until now: 90s, 30m, 2h, 7d, 1w. Works beside a running server.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from eventlog import history
from eventlog.connection import open_reader, translated_errors
from eventlog.errors import LogMissingError
from eventlog.events import Removed, State
from projections.last_paths import LastPaths
from projections.overlay import Overlays, Stored
from projections.past import FIRST, Past, UncoveredError, reading
from tools import arguments as kinds_of
from tools.config import add_log_options, database_path
from tools.errors import OperatorError
from tools.record_text import Shower, state_detail, text_fields
from tools.text import local_time, shown_bytes, utc_time

PAGE = 1_000
"""Nodes of a directory read at a time, each time in a read transaction of its own."""

Ask = Callable[[], AbstractContextManager[Past]]


class At(NamedTuple):
    """As of when.

    Attributes:
        position: of the log, or None: it is given by its time.
        time_us: microseconds since 1970 UTC; what was before it is meant.
    """

    position: int | None
    time_us: int = 0


class Found(NamedTuple):
    """A node of the tree.

    Attributes:
        level: how many directories it lies below what was asked for.
        path: absolute.
        stored: its last event.
        state: after that.
    """

    level: int
    path: bytes
    stored: Stored
    state: State


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add(
        "places",
        metavar="DIR|PATH",
        nargs="*",
        help="a served directory, or what is or was in one; several that are served together may"
        " be followed by a path in one of them; after --db or --config, a path alone",
    )
    add_log_options(parser)
    add("--at", metavar="TIME|POSITION", type=_at, help="as of when (default: now)")
    add("--depth", metavar="N", type=kinds_of.position, help="levels to go down (default: all)")
    add("--json", action="store_true", help="one JSON object a line, with all that is known")


def run(arguments: argparse.Namespace) -> int:
    """Print the tree."""
    database, path = _place(arguments)
    connection = open_reader(database)
    ask = partial(reading, connection, Overlays())
    with translated_errors(database):
        shower = Shower(LastPaths(connection), history.node_ids(connection))
        try:
            position, tops = _begin(ask, arguments.at, path)
            if not arguments.json:
                print(_heading(ask, position))
            for found in walk(ask, position, tops, arguments.depth):
                line = _json_line(shower, found) if arguments.json else _line(found)
                sys.stdout.write(line)
        except UncoveredError as error:
            raise OperatorError(_uncovered(error)) from error
    return 0


def walk(
    ask: Ask, position: int, tops: list[tuple[bytes, Stored]], depth: int | None = None
) -> Iterator[Found]:
    """Walk down from some nodes, each directory before what is in it.

    Holds one page of each directory above the one that is read.

    Args:
        ask: gives a read transaction.
        position: as of which.
        tops: path and last event of each node to begin with.
        depth: how many levels to go down; None for all.

    Raises:
        UncoveredError: a compaction has dropped the position meanwhile.
    """
    levels = [iter(tops)]
    while levels:
        path, stored = next(levels[-1], (b"", None))
        if stored is None:
            levels.pop()
            continue
        event = stored.event
        if isinstance(event, Removed):
            continue  # only what was asked for by itself can be gone
        level = len(levels) - 1
        yield Found(level, path, stored, event.state)
        if event.state.is_directory and (depth is None or level < depth):
            levels.append(_below(ask, position, path, stored.node))


def _below(ask: Ask, position: int, path: bytes, number: int) -> Iterator[tuple[bytes, Stored]]:
    after = FIRST
    while True:
        with ask() as past:
            page = past.at(position).children(number, after, PAGE)
        for stored in page:
            yield b"/".join([path.rstrip(b"/"), stored.key[0]]), stored
        if len(page) < PAGE:
            return
        after = page[-1].key


def _begin(ask: Ask, at: At | None, path: bytes | None) -> tuple[int, list[tuple[bytes, Stored]]]:
    """Return as of when is asked, and what."""
    with ask() as past:
        if at is None:
            tree = past.now()
        else:
            tree = past.before(at.time_us) if at.position is None else past.at(at.position)
        if path is not None:
            stored = tree.resolve(path)
            if stored is None:
                raise OperatorError(f"{shown_bytes(path)}: nothing at position {tree.position}")
            return tree.position, [(path, stored)]
        return tree.position, [(tree.path(root) or b"", root) for root in tree.roots()]


def _heading(ask: Ask, position: int) -> str:
    with ask() as past:
        time_us = past.time_us(position)
    when = f", {local_time(time_us)}" if time_us else ""
    return f"as of position {position}{when}"


def _line(found: Found) -> str:
    """Return a line for people; only what was asked for is shown with its whole path."""
    name = found.stored.key[0] if found.level else found.path
    slash = "/" if found.state.is_directory and name != b"/" else ""
    parts = [f"{'  ' * found.level}{shown_bytes(name)}{slash}", *state_detail(found.state)]
    return "  ".join(parts) + "\n"


def _json_line(shower: Shower, found: Found) -> str:
    """Return a line for programs, with everything that the log holds of the node."""
    fields = {
        **text_fields("path", found.path),
        "level": found.level,
        "id": shower.id(found.stored.node),
        "node": found.stored.node,
        "position": found.stored.position,
        "time": utc_time(found.stored.time_us),
        "state": shower.state(found.state),
    }
    return msgspec.json.encode(fields).decode() + "\n"


def _uncovered(error: UncoveredError) -> str:
    earliest, earliest_us, head = error.coverage
    if error.is_ahead:
        return f"the log ends at position {head}; give an earlier one to --at"
    return (
        f"the log remembers every state from position {earliest} ({local_time(earliest_us)}) on;"
        " give a later one to --at"
    )


def _at(text: str) -> At:
    if text.isascii() and text.isdigit():
        return At(kinds_of.position(text))
    return At(None, kinds_of.time_us(text))


def _place(arguments: argparse.Namespace) -> tuple[str, bytes | None]:
    """Find out which database is meant, and which path in it."""
    given: list[str] = arguments.places
    if arguments.db or arguments.config:
        if len(given) > 1:
            raise OperatorError("beside --db or --config, give one path")
        return _database(arguments, []), kinds_of.path(given[0]) if given else None
    for directories in _readings(given):
        database = _database(arguments, directories)
        if Path(database).exists():
            return database, None if directories == given else kinds_of.path(given[-1])
    raise LogMissingError(_database(arguments, given[:-1] or given))


def _readings(given: list[str]) -> Iterator[list[str]]:
    """Yield the sets of served directories that may be meant: the last one may be a path in one."""
    last = Path(given[-1]).absolute() if given else None
    others = [Path(other.partition("=")[2] or other).absolute() for other in given[:-1]]
    if last is None or not any(last.is_relative_to(other) for other in others):
        yield given
    if others:
        yield given[:-1]
    elif last is not None:
        yield from ([str(above)] for above in last.parents)


def _database(arguments: argparse.Namespace, directories: list[str]) -> str:
    return database_path(
        argparse.Namespace(directories=directories, db=arguments.db, config=arguments.config)
    )
