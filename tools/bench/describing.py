"""Rows: one life on the large tree, with the metadata of every file beside the machine's limit."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from tools.bench.bench import Bench, Run, figures
from tools.bench.feeds import NASFEED
from tools.bench.large import MEMORY_MIB, rows_of
from tools.bench.life import live
from tools.bench.process import Child
from tools.bench.row import Goal, Row

PROCESSES = 2
BATCH = 500

_LIMIT = (
    f"find {{}} -type f -print0 | xargs -0 -P{PROCESSES} -n{BATCH} "
    """sh -c 'file --brief --mime-type -- "$@" >/dev/null; md5sum -- "$@" >/dev/null' sh"""
)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure both. Reading once before has both sides find the contents in the cache."""
    limit(bench, bench.tree.path)
    bench.say(f"file and md5sum on {bench.tree.files:,} files")
    least = limit(bench, bench.tree.path)
    bench.say(f"a life of nasfeed on {bench.tree.entries:,} entries")
    life = live(bench, NASFEED, bench.tree)
    yield Row(
        work=f"all hashed, {bench.tree.files:,} files",
        unit="s",
        ours=figures("nasfeed", [life.described]),
        theirs=figures("file+md5sum", [least]),
        goal=Goal(1.2),
        note=f"from the start of the server, its scan included; beside {PROCESSES} processes",
    )
    yield from rows_of(life, bench.tree, MEMORY_MIB)


def limit(bench: Bench, tree: Path) -> Run:
    """Let the two programs read everything, as many at once as there is work for.

    Args:
        bench: the run.
        tree: what they read.
    """
    script = _LIMIT.format(shlex.quote(str(tree)))
    return Run(*Child(["sh", "-c", script], bench.new_state() / "output").finish())
