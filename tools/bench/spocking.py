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

from tools.bench import nginx, spock_latency, spock_load
from tools.bench.bench import Bench, ended
from tools.bench.feeds import NASFEED, Feed
from tools.bench.loads import run_load
from tools.bench.process import CLOCK, Child
from tools.bench.row import Figures, Goal, Row
from tools.bench.wire import free_port
from tools.errors import OperatorError

PROJECT = Path(__file__).parents[2]

_MB: Final = 1_000_000
_TAR_FILES: Final = 1_000
_ARCHIVE: Final = "files.tar"


NEW_CONNECTIONS_MIN: Final = 5_000


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
    Measure("spockfs: GETATTR, a new connection each", "new", 0, NEW_CONNECTIONS_MIN),
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
    feed: Feed
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
        yield _by_processor(bench, served)
        with _mounted(bench, served) as mount:
            if mount is not None:
                yield from _unpacked(bench, served, mount)
            loads = _loads(bench, served, mount)
            yield from spock_latency.rows(served.feed, served.root, loads, bench.saves)


def _by_processor(bench: Bench, served: _Served) -> Row:
    """Return what one core could answer: the load generator takes the other, and more."""
    rates = []
    for _ in range(bench.repeat):
        before = served.feed.child.cpu_seconds()
        rate = _rate(served.port, MEASURES[0], bench.load_seconds)
        used = served.feed.child.cpu_seconds() - before
        rates.append(rate * bench.load_seconds / used)
    return Row(
        work="spockfs: GETATTR, a new connection each, in a second of the server's processor time",
        unit="/s",
        ours=Figures("nasfeed", tuple(rates)),
        better="more",
        goal=Goal(NEW_CONNECTIONS_MIN, relative=False),
        note="four connections",
    )


def _loads(bench: Bench, served: _Served, mount: Path | None) -> dict[str, spock_latency.Load]:
    """Return what the server does while latency is measured."""

    def asking(operation: str) -> subprocess.Popen[bytes]:
        words = [str(served.port), operation, str(2**17), str(bench.load_seconds)]
        command = [sys.executable, "-m", "tools.bench.spock_load", *words]
        return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)  # noqa: S603 - the command line is this package's

    def unpacking(into: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(_tar(served, into))  # noqa: S603 - the command line is this module's

    loads: dict[str, spock_latency.Load] = {
        "spockfs idle": lambda: None,
        "during PUT of 128 KiB": lambda: asking("put"),
        "during GET of 128 KiB": lambda: asking("get"),
    }
    if mount is not None:
        loads["during tar -x in a mount"] = lambda: unpacking(mount)
    return loads


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
    printed = run_load("spock_load", words, measure.work)
    return float(printed)


@contextlib.contextmanager
def _serving(bench: Bench) -> Iterator[_Served]:
    state, port = bench.new_state(), free_port()
    root = state / "root"
    root.mkdir()
    for number in range(spock_load.CONNECTIONS):
        (root / f"load{number}").write_bytes(bytes(spock_load.FILE_BYTES))
    feed = Feed(NASFEED, root, state, {"spockfs": {"port": port}})
    try:
        with ended(feed):
            feed.child.wait_until(lambda: _answers(port))
            feed.child.wait_until(feed.ready)
            yield _Served(feed, port, root, state)
    finally:
        shutil.rmtree(state, ignore_errors=True)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError, OperatorError):
        line = spock_load.Line(port)
        with contextlib.closing(line):
            line.ask(spock_load.request("GETATTR", "/"))
            return True
    return False


@contextlib.contextmanager
def _mounted(bench: Bench, served: _Served) -> Iterator[Path | None]:
    """Mount it, and make an archive; None where nothing can be mounted."""
    if importlib.util.find_spec("pyfuse3") is None or os.geteuid():
        bench.say("no root or no pyfuse3: work in a mount is not measured")
        yield None
        return
    source, mount = served.state / "files", served.state / "mount"
    source.mkdir()
    for number in range(_TAR_FILES):
        (source / f"{number}").write_bytes(b"%d\n" % number * 100)
    _run("tar", "-C", str(served.state), "-cf", str(served.state / _ARCHIVE), "files")
    mount.mkdir()
    words = [sys.executable, "-m", "tools", "mount", f"http://127.0.0.1:{served.port}", str(mount)]
    child = Child(words, served.state / "mount-output", PROJECT)
    try:
        child.wait_until(mount.is_mount)
        yield mount
        child.stop()
    finally:
        child.kill()
        if os.path.ismount(mount):
            _run("umount", "-l", str(mount))


def _tar(served: _Served, into: Path) -> list[str]:
    return ["tar", "-C", str(into), "--no-same-owner", "-xf", str(served.state / _ARCHIVE)]


def _unpacked(bench: Bench, served: _Served, mount: Path) -> Iterator[Row]:
    """Unpack an archive in a mount, find what is there, and remove it."""
    seen, arrived, found, removed = [], [], [], []
    for turn in range(bench.repeat):
        into = mount / f"turn{turn}"
        into.mkdir()
        begun = CLOCK.monotonic()
        _run(*_tar(served, into))
        seen.append(_TAR_FILES / (CLOCK.monotonic() - begun))
        _sync(into / "files")
        arrived.append(_TAR_FILES / (CLOCK.monotonic() - begun))
        begun = CLOCK.monotonic()
        _run("find", str(into), "-size", "+1000")
        found.append(_TAR_FILES / (CLOCK.monotonic() - begun))
        begun = CLOCK.monotonic()
        _run("rm", "-r", str(into))
        removed.append(_TAR_FILES / (CLOCK.monotonic() - begun))
    theirs = "the reference pair makes 200 files in 0.23 s"
    for work, rates, note in (
        ("tar -x in a mount", seen, theirs),
        ("tar -x in a mount, and fsync of the directory", arrived, "every file in the log"),
        ("rm -r in a mount", removed, "every removal in the log"),
        ("find in a mount, with attributes", found, "a connection for each takes it 0.05 ms"),
    ):
        yield Row(
            work=f"spockfs: {work}",
            unit="files/s",
            ours=Figures("nasfeed", tuple(rates)),
            better="more",
            goal=Goal(200 / 0.23 if rates is not found else 19_300, relative=False),
            note=note,
        )


def _sync(directory: Path) -> None:
    """Wait until all that was made in a directory is on the server."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _run(*words: str) -> None:
    subprocess.run(words, check=True)  # noqa: S603 - the command lines are this module's
