"""What every measure is given: trees, peers, a place to write, and how often to repeat."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tools.bench.feeds import Feed, Program
from tools.bench.row import Figures
from tools.bench.tree import Tree
from tools.bench.watchman import Watchman


class Bench(NamedTuple):
    """A run of the benchmarks.

    Attributes:
        tree: the large tree.
        small: a smaller one, for peers that would take too long, and for writing into.
        scratch: directory for databases and states.
        watchman: the executable, or None when it is missing.
        wcpan: the peer of the feed protocol, or None.
        wrk: the executable of the load generator, or None.
        repeat: how often each measure is taken.
        saves: how many files are written to measure latency.
        load_seconds: for how long the cursor is asked for.
        say: told what is going on.
        log_nodes: nodes of the log that is compacted.
        library_files: files of the media library whose pages are asked for.
    """

    tree: Tree
    small: Tree
    scratch: Path
    watchman: str | None
    wcpan: Program | None
    wrk: str | None
    repeat: int
    saves: int
    load_seconds: int
    say: Callable[[str], None]
    log_nodes: int = 20_000
    library_files: int = 100_000

    def new_state(self) -> Path:
        """Make an empty directory for one server's state."""
        return Path(tempfile.mkdtemp(dir=self.scratch))


class Run(NamedTuple):
    """What something took: seconds of time, and of processors."""

    seconds: float
    cpu_seconds: float


def figures(name: str, runs: list[Run]) -> Figures:
    """Make one side of a row."""
    return Figures(name, tuple(r.seconds for r in runs), tuple(r.cpu_seconds for r in runs))


def alternate(repeat: int, *sides: Callable[[], None]) -> None:
    """Run all sides so many times, each time in the opposite order, so that drift hits all."""
    for turn in range(repeat):
        for side in sides if turn % 2 == 0 else reversed(sides):
            side()


@contextmanager
def ended(server: Feed | Watchman) -> Iterator[None]:
    """Stop a server at the end; kill it when anything goes wrong."""
    with ExitStack() as undo:
        undo.callback(server.kill)
        yield
        server.stop()
