"""Measure nasfeed beside its nearest peers, in one run on one real tree, and print a table.

Peers: watchman (crawl), wcpan-drive-feed 1.6.0 (the feed; on a smaller tree, as it hashes
everything before it answers), file and md5sum (metadata). Every side is measured on a warm cache,
the order changes each time, and the table gives the best value and, in parentheses, the median.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tools import cli
from tools.bench import (
    burst,
    compaction,
    crawl,
    describing,
    listing,
    machine,
    million,
    peers,
    pushing,
    ranging,
    serving,
    spocking,
    storing,
    table,
    thumbing,
)
from tools.bench.bench import Bench
from tools.bench.row import Row
from tools.bench.tree import SOURCES, mirror, take
from tools.errors import OperatorError

LOAD_SECONDS = 3

THEMES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "crawl": crawl.rows,
    "serving": serving.rows,
    "pushing": pushing.rows,
    "describing": describing.rows,
    "burst": burst.rows,
    "compaction": compaction.rows,
    "storing": storing.rows,
    "spocking": spocking.rows,
    "thumbing": thumbing.rows,
    "listing": listing.rows,
    "ranging": ranging.rows,
    "million": million.rows,
}
"""What can be measured; `million` only when it is asked for, because it takes long."""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("tree", metavar="DIR", nargs="?", help="directory to measure on (default: one is made)")
    add("--entries", type=int, default=120_000, help="size of the tree that is made")
    add("--small", type=int, default=20_000, help="size of the tree for wcpan and for latency")
    add("--log-nodes", type=int, default=20_000, help="nodes of the log that is compacted")
    add("--library-files", type=int, default=100_000, help="files of the media library")
    add("--scratch", metavar="DIR", help="where trees and databases are made and deleted")
    add("--repeat", type=int, default=3, help="how often each side is measured")
    add("--saves", type=int, default=300, help="files written to measure latency")
    add("--only", action="append", choices=THEMES, help="measure this only; may be repeated")
    add("--million", action="store_true", help="measure a million files too")
    add("--json", metavar="FILE", help="write the figures and the facts of the machine as JSON")
    add("--peer-python", default="python3.13", metavar="PYTHON", help="interpreter for wcpan")
    return made


def main() -> int:
    """Measure what the command line asks for."""
    arguments = parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="nasfeed-bench-", dir=arguments.scratch) as scratch:
        bench = _bench(arguments, Path(scratch))
        facts = machine.facts(bench)
        print(*(f"{key}: {value}" for key, value in facts.items()), sep="\n")
        rows: list[Row] = []
        try:
            for theme in chosen_themes(arguments):
                for row in THEMES[theme](bench):
                    rows.append(row)
                    _say(f"  {row.work}: {table.summary(row)}")
        finally:  # hours of measuring are not lost when a later measure fails
            _report(rows, facts, arguments.json)
    return 0


def _report(rows: list[Row], facts: dict[str, str], file: str | None) -> None:
    print("", *table.lines(rows), sep="\n")
    if file:
        document = {"machine": facts, "rows": rows}
        Path(file).write_bytes(msgspec.json.format(msgspec.json.encode(document)))


def chosen_themes(arguments: argparse.Namespace) -> list[str]:
    """Return what is measured, in order."""
    chosen = arguments.only or [theme for theme in THEMES if theme != "million"]
    return [*chosen, "million"] if arguments.million and "million" not in chosen else chosen


def _bench(arguments: argparse.Namespace, scratch: Path) -> Bench:
    _say("preparing the trees")
    given = Path(arguments.tree).resolve() if arguments.tree else None
    if given and not given.is_dir():
        raise OperatorError(f"{given}: no such directory; give one to measure on")
    sources = (str(given),) if given else SOURCES
    return Bench(
        tree=take(given) if given else mirror(scratch / "tree", arguments.entries),
        small=mirror(scratch / "small", arguments.small, sources),
        scratch=scratch,
        watchman=peers.find("watchman", _say),
        wcpan=peers.find_wcpan(arguments.peer_python, _say),
        wrk=peers.find("wrk", _say),
        repeat=arguments.repeat,
        saves=arguments.saves,
        load_seconds=LOAD_SECONDS,
        say=_say,
        log_nodes=arguments.log_nodes,
        library_files=arguments.library_files,
    )


def _say(text: str) -> None:
    print(f"- {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(cli.guarded(main))
