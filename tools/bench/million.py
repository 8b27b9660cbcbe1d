"""Rows: a million files in a hundred thousand directories, made for this and deleted again."""

import shutil
from collections.abc import Iterator

from tools.bench.bench import Bench, Run, ended
from tools.bench.feeds import NASFEED
from tools.bench.large import MEMORY_MIB, MIB, rows_of
from tools.bench.life import live
from tools.bench.row import Figures, Row
from tools.bench.tree import Tree, many
from tools.bench.watchman import Watchman

DIRECTORIES = 100_000
FILES = 10


def rows(bench: Bench) -> Iterator[Row]:
    """Measure on a tree of our own."""
    path = bench.scratch / "million"
    bench.say("making a million files")
    try:
        yield from _rows(bench, many(path, DIRECTORIES, FILES))
    finally:
        bench.say("deleting them")
        shutil.rmtree(path)


def _rows(bench: Bench, tree: Tree) -> Iterator[Row]:
    bench.say("a life of nasfeed on them")
    life = live(bench, NASFEED, tree)
    peer = _watchman(bench, bench.watchman, tree) if bench.watchman else None
    for work, unit, ours, theirs in (
        ("first cursor", "s", life.ready.seconds, peer and peer[0].seconds),
        ("memory idle", "MiB", life.memory / MIB, peer and peer[1] / MIB),
        ("restart", "s", life.restart.seconds, peer and peer[0].seconds),
    ):
        yield Row(
            work=f"{work}, {tree.entries:,} entries",
            unit=unit,
            ours=Figures("nasfeed", (ours,)),
            theirs=Figures("watchman", (theirs,)) if theirs else None,
        )
    yield from rows_of(life, tree, MEMORY_MIB)


def _watchman(bench: Bench, executable: str, tree: Tree) -> tuple[Run, int]:
    bench.say("watchman's crawl of them")
    server = Watchman(executable, bench.new_state())
    with ended(server):
        seconds = server.until_crawled(tree.path)
        return Run(seconds, server.child.cpu_seconds()), server.child.memory_bytes()
