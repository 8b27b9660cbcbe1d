"""Print what is in a directory, or what was in it at a position of the log or before a time.

What is named need not exist any more; where nothing is named, all served directories are printed.
Times are RFC 3339, as 2026-03-04T12:00:00Z, without a zone those of this machine, or a length of
time until now: 90s, 30m, 2h, 7d, 1w. Works beside a running server.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import apsw
import msgspec

from eventlog import history
from eventlog.clock import SystemClock
from eventlog.connection import open_reader, translated_errors
from eventlog.errors import LogMissingError
from eventlog.events import State
from projections.frames import DamagedSnapshotError
from projections.last_paths import LastPaths
from projections.overlay import Key, Overlays, Stored
from projections.past import Past, UncoveredError, Why, reading
from projections.past_tree import FIRST, PastTree
from projections.snapshot_store import SnapshotStore
from projections.snapshot_tree import SnapshotTree
from projections.tree import state_of
from tools import arguments as kinds_of
from tools.config import Source, add_log_options, source
from tools.errors import OperatorError
from tools.record_text import Shower, state_detail, text_fields
from tools.snapshots import Snapshots
from tools.text import local_time, shown_bytes, utc_time

PAGE = 1_000
"""Nodes of a directory read at a time, each time in a read transaction of its own."""

Children = Callable[[int, Key, int], list[Stored]]
"""Returns a page of a directory: of which, after what, how many."""


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
    of, path = _place(arguments)
    connection = open_reader(of.database)
    store = Snapshots(of.database, of.snapshots, SystemClock()).store
    overlays = Overlays()
    with translated_errors(of.database), ExitStack() as files:
        try:
            with connection:
                tree = _whole(store, lambda: Past(connection, overlays, store, files), arguments.at)
                tops = _tops(tree, path)
            children = _children(tree, lambda: reading(connection, overlays))
            show = _shower(arguments, connection, tree)
            for found in walk(children, tops, arguments.depth):
                sys.stdout.write(show(found))
        except UncoveredError as error:
            raise OperatorError(_uncovered(error)) from error
    return 0


def walk(
    children: Children, tops: list[tuple[bytes, Stored]], depth: int | None = None
) -> Iterator[Found]:
    """Walk down from some nodes, each directory before what is in it.

    Holds one page of each directory above the one that is read.

    Args:
        children: returns a page of a directory.
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
        state = state_of(stored.event)
        level = len(levels) - 1
        yield Found(level, path, stored, state)
        if state.is_directory and (depth is None or level < depth):
            levels.append(_below(children, path, stored.node))


def _below(children: Children, path: bytes, number: int) -> Iterator[tuple[bytes, Stored]]:
    after = FIRST
    while page := children(number, after, PAGE):
        for stored in page:
            yield b"/".join([path.rstrip(b"/"), stored.key[0]]), stored
        if len(page) < PAGE:
            return
        after = page[-1].key


def _whole(store: SnapshotStore, past: Callable[[], Past], at: At | None) -> PastTree:
    """Return the tree as of when it is asked for; a damaged snapshot is passed over, and told."""
    while True:
        tree = _tree(past(), at)
        try:
            if isinstance(tree, SnapshotTree):
                tree.prove()  # before anything of it is printed
        except DamagedSnapshotError as error:
            store.distrust(error.path)
            print(f"nasfeed: passed over: {error}", file=sys.stderr)
        else:
            return tree


def _tree(past: Past, at: At | None) -> PastTree:
    if at is None:
        return past.now()
    return past.before(at.time_us) if at.position is None else past.at(at.position)


def _tops(tree: PastTree, path: bytes | None) -> list[tuple[bytes, Stored]]:
    """Return what the walk begins with: one path, or all roots."""
    if path is None:
        return [(tree.path(root) or b"", root) for root in tree.roots()]
    stored = tree.resolve(path)
    if stored is None:
        raise OperatorError(f"{shown_bytes(path)}: nothing at position {tree.position}")
    return [(path, stored)]


def _children(tree: PastTree, ask: Callable[[], AbstractContextManager[Past]]) -> Children:
    """Return what reads pages: each from the log in a transaction of its own, or from the file."""

    def children(parent: int, after: Key, limit: int) -> list[Stored]:
        with ask() as past:
            return past.at(tree.position).children(parent, after, limit)

    return tree.children if isinstance(tree, SnapshotTree) else children


def _shower(
    arguments: argparse.Namespace, connection: apsw.Connection, tree: PastTree
) -> Callable[[Found], str]:
    """Print the heading, if there is one, and return what makes lines."""
    if arguments.json:
        shower = Shower(LastPaths(connection), history.node_ids(connection))
        common = {"as_of": tree.position, "exact": tree.exact}
        return lambda found: _json_line(shower, found, common)
    with reading(connection, Overlays()) as past:
        time_us = past.time_us(tree.position)
    when = f", {local_time(time_us)}" if time_us else ""
    note = "" if tree.exact else ": the last snapshot before what is asked for"
    print(f"as of position {tree.position}{when}{note}")
    return _line


def _line(found: Found) -> str:
    """Return a line for people; only what was asked for is shown with its whole path."""
    name = found.stored.key[0] if found.level else found.path
    slash = "/" if found.state.is_directory and name != b"/" else ""
    parts = [f"{'  ' * found.level}{shown_bytes(name)}{slash}", *state_detail(found.state)]
    return "  ".join(parts) + "\n"


def _json_line(shower: Shower, found: Found, common: Mapping[str, object]) -> str:
    """Return a line for programs, with everything that the log holds of the node."""
    fields = {
        **text_fields("path", found.path),
        **common,
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
    if error.why is Why.AHEAD:
        return f"the log ends at position {head}; give an earlier one to --at"
    if error.why is Why.LOST:
        return "this position was lost when the log was restored; give a time to --at"
    return (
        f"what can be shown begins at position {earliest} ({local_time(earliest_us)});"
        " give a later one to --at"
    )


def _at(text: str) -> At:
    if text.isascii() and text.isdigit():
        return At(kinds_of.position(text))
    return At(None, kinds_of.time_us(text))


def _place(arguments: argparse.Namespace) -> tuple[Source, bytes | None]:
    """Find out whose log is meant, and which path in it."""
    given: list[str] = arguments.places
    if arguments.db or arguments.config:
        if len(given) > 1:
            raise OperatorError("beside --db or --config, give one path")
        return _source(arguments, []), kinds_of.path(given[0]) if given else None
    for directories in _readings(given):
        found = _source(arguments, directories)
        if Path(found.database).exists():
            return found, None if directories == given else kinds_of.path(given[-1])
    raise LogMissingError(_source(arguments, given[:-1] or given).database)


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


def _source(arguments: argparse.Namespace, directories: list[str]) -> Source:
    return source(
        argparse.Namespace(directories=directories, db=arguments.db, config=arguments.config)
    )
