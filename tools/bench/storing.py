"""The file store beside the original Filetracker server with four processes, eight clients at once.

The original is measured where `filetracker-server` is on the PATH. Its libraries do not build by
themselves any more: apt-get install libdb-dev, then in an environment of its own
pip install --no-build-isolation bsddb3==6.2.7 'filetracker[server]'.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from tools.bench import store_load
from tools.bench.bench import Bench, alternate
from tools.bench.loads import run_load
from tools.bench.process import Child
from tools.bench.row import Figures, Goal, Row
from tools.bench.wire import free_port

PROJECT = Path(__file__).parents[2]

SMALL: Final = 2**10
LARGE: Final = 2**20
_WORKERS: Final = "4"


class Measure(NamedTuple):
    """Something that both servers do.

    Attributes:
        work: for the table.
        operation: of the load generator.
        size: of each file, bytes.
    """

    work: str
    operation: str
    size: int


MEASURES = (
    Measure("store: GET of 1 KiB", "get", SMALL),
    Measure("store: GET of 1 MiB", "get", LARGE),
    Measure("store: PUT of distinct 1 KiB", "put", SMALL),
)

Start = Callable[[Path, int], Child]
"""Starts a server that keeps its files in a directory and listens on a port."""


def rows(bench: Bench) -> Iterator[Row]:
    """Measure the store and the original.

    Args:
        bench: the run.

    Yields:
        A row for each measure, more being better.
    """
    starts: dict[str, Start] = {"nasfeed": _start_ours}
    if original := shutil.which("filetracker-server"):
        starts["filetracker"] = _original(original)
    else:
        bench.say("filetracker-server is missing, its rows have no peer: see this module's text")
    for measure in MEASURES:
        values: dict[str, list[float]] = {name: [] for name in starts}
        sides = (partial(_measure, bench, starts, measure, values, name) for name in starts)
        alternate(bench.repeat, *sides)
        found = {name: Figures(name, tuple(each)) for name, each in values.items()}
        yield Row(
            work=measure.work,
            unit="/s",
            ours=found["nasfeed"],
            theirs=found.get("filetracker"),
            better="more",
            goal=Goal(1),
            note="ours in one process, every PUT synced and in the log",
        )


def _measure(
    bench: Bench,
    starts: Mapping[str, Start],
    measure: Measure,
    values: Mapping[str, list[float]],
    name: str,
) -> None:
    values[name].append(_rate(bench, starts[name], measure))


def _rate(bench: Bench, start: Start, measure: Measure) -> float:
    """Return how often a server does something in a second.

    The disk has nothing left to do from before: who syncs would pay for what others did not.
    """
    os.sync()
    port, state = free_port(), bench.new_state()
    server = start(state, port)
    try:
        server.wait_until(lambda: store_load.is_up(port))
        words = [str(port), measure.operation, str(measure.size), str(bench.load_seconds)]
        printed = run_load("store_load", words, measure.work)
        server.stop()
        return float(printed)
    finally:
        server.kill()
        with contextlib.suppress(OSError):
            shutil.rmtree(state)


def _start_ours(state: Path, port: int) -> Child:
    root, config = state / "root", state / "server.yaml"
    root.mkdir()
    document = {
        "host": "127.0.0.1",
        "port": port,
        "database_url": str(state / "log.db"),
        "watches": {"files": str(root)},
        "filetracker": {"root": "files"},
    }
    config.write_text(json.dumps(document))  # which is YAML as well
    words = [sys.executable, "-m", "tools", "serve", "--config", str(config)]
    return Child(words, state / "output", PROJECT)


def _original(executable: str) -> Start:
    def start(state: Path, port: int) -> Child:
        # It starts helpers of its own by name.
        path = f"{Path(executable).parent}:{os.defpath}"
        words = ["env", f"PATH={path}", executable, "-D", "-p", str(port), "-d", str(state)]
        return Child([*words, "--workers", _WORKERS], state / "output")

    return start
