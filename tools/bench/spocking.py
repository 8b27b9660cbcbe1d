"""The filesystem over HTTP: answers a second, bytes a second, and work through a mount.

nginx, if it is there, serves the same file: what reading over HTTP costs at least. The reference
server in C is not to be had; its figures, from a machine with two cores as well, are the goals.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tools.bench import nginx, spock_load
from tools.bench.bench import Bench
from tools.bench.process import CLOCK, Child
from tools.bench.row import Figures, Goal, Row
from tools.bench.wire import free_port
from tools.errors import OperatorError

PROJECT = Path(__file__).parents[2]

_MB: Final = 1_000_000
_TAR_FILES: Final = 1_000


class Measure(NamedTuple):
    """Something that the server does.

    Attributes:
        work: for the table.
        operation: of the load generator.
        size: bytes of each answer or request; 0 where answers are counted.
        goal: the least, a second: answers or megabytes.
    """

    work: str
    operation: str
    size: int
    goal: float | None = None


MEASURES: Final = (
    Measure("spockfs: GETATTR, a new connection each", "new", 0, 5_000),
    Measure("spockfs: GETATTR on kept connections", "kept", 0),
    *(
        Measure(f"spockfs: {operation.upper()} of {name}", operation, size, goal)
        for operation, goals in (("put", (None, 200, None)), ("get", (None, 400, None)))
        for (name, size), goal in zip(
            (("4 KiB", 2**12), ("128 KiB", 2**17), ("1 MiB", 2**20)), goals, strict=True
        )
    ),
)


class _Served(NamedTuple):
    child: Child
    port: int
    root: Path
    state: Path


def rows(bench: Bench) -> Iterator[Row]:
    """Measure the filesystem.

    Args:
        bench: the run.

    Yields:
        A row for each measure, more being better.
    """
    with _serving(bench) as served, nginx.serving(bench, served.root, served.state) as peer:
        for measure in MEASURES:
            is_read = measure.operation == "get"
            theirs = _figures("nginx", peer and peer.port, measure, bench) if is_read else None
            yield Row(
                work=measure.work,
                unit="MB/s" if measure.size else "/s",
                ours=_ours(served.port, measure, bench),
                theirs=theirs,
                better="more",
                goal=None if measure.goal is None else Goal(measure.goal, relative=False),
                note="four connections",
            )
        if importlib.util.find_spec("pyfuse3") is None or os.geteuid():
            bench.say("no root or no pyfuse3: work in a mount is not measured")
        else:
            yield _unpacked(bench, served)


def _ours(port: int, measure: Measure, bench: Bench) -> Figures:
    found = _figures("nasfeed", port, measure, bench)
    assert found is not None
    return found


def _figures(name: str, port: int | None, measure: Measure, bench: Bench) -> Figures | None:
    if port is None:
        return None
    factor = measure.size / _MB if measure.size else 1
    rates = (_rate(port, measure, bench.load_seconds) for _ in range(bench.repeat))
    return Figures(name, tuple(rate * factor for rate in rates))


def _rate(port: int, measure: Measure, load_seconds: float) -> float:
    words = [str(port), measure.operation, str(measure.size), str(load_seconds)]
    done = subprocess.run(  # noqa: S603 - the command line is this package's
        [sys.executable, "-m", "tools.bench.spock_load", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    if done.returncode:
        raise OperatorError(f"{measure.work}: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout)


@contextlib.contextmanager
def _serving(bench: Bench) -> Iterator[_Served]:
    state, port = bench.new_state(), free_port()
    root = state / "root"
    root.mkdir()
    for number in range(spock_load.CONNECTIONS):
        (root / f"load{number}").write_bytes(bytes(spock_load.FILE_BYTES))
    words = [sys.executable, "-m", "tools", "serve", str(root), "--port", "0"]
    words += ["--db", str(state / "log.db"), "--spockfs", "--spockfs-port", str(port)]
    child = Child(words, state / "output", PROJECT)
    try:
        child.wait_until(lambda: _answers(port))
        yield _Served(child, port, root, state)
        child.stop()
    finally:
        child.kill()
        shutil.rmtree(state, ignore_errors=True)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError, OperatorError):
        line = spock_load.Line(port)
        with contextlib.closing(line):
            line.ask(spock_load.request("GETATTR", "/"))
            return True
    return False


def _unpacked(bench: Bench, served: _Served) -> Row:
    """Unpack an archive in a mount."""
    source, archive = served.state / "files", served.state / "files.tar"
    source.mkdir()
    for number in range(_TAR_FILES):
        (source / f"{number}").write_bytes(b"%d\n" % number * 100)
    _run("tar", "-C", str(served.state), "-cf", str(archive), "files")
    mount = served.state / "mount"
    mount.mkdir()
    words = [sys.executable, "-m", "tools", "mount", f"http://127.0.0.1:{served.port}", str(mount)]
    child = Child(words, served.state / "mount-output", PROJECT)
    rates = []
    try:
        child.wait_until(mount.is_mount)
        for turn in range(bench.repeat):
            into = mount / f"turn{turn}"
            into.mkdir()
            begun = CLOCK.monotonic()
            _run("tar", "-C", str(into), "--no-same-owner", "-xf", str(archive))
            rates.append(_TAR_FILES / (CLOCK.monotonic() - begun))
        child.stop()
    finally:
        child.kill()
    return Row(
        work="spockfs: tar -x in a mount",
        unit="files/s",
        ours=Figures("nasfeed", tuple(rates)),
        better="more",
        goal=Goal(200 / 0.23, relative=False),
        note="every file in the log; the reference pair makes 200 files in 0.23 s",
    )


def _run(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603 - the command lines are this module's
