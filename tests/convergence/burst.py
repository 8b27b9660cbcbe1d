"""Many files while the server cannot run: `python -m tests.convergence.burst [COUNT]`.

The server is stopped by SIGSTOP, files are made, and it goes on. Prints how long it then takes
until all are in the feed, how often hints were lost, and how many comparisons it made.
"""

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from eventlog.connection import open_reader
from projections.tree import Tree
from tests.serving import Server, serving, wait_until

PER_DIRECTORY = 1000


class Result(NamedTuple):
    """What came of a burst.

    Attributes:
        seconds: from the moment that the server went on until all files were known.
        overflows: how often hints were lost.
        comparisons: beside the first one.
        backend: what noticed.
    """

    seconds: float
    overflows: int
    comparisons: int
    backend: str


def burst(base: Path, backend: str, count: int) -> Result:
    """Make files in directories that are known and in new ones while the server cannot run.

    Args:
        base: an empty directory.
        backend: what the server notices with.
        count: of the files.

    Raises:
        AssertionError: the server never knows them all.
    """
    root, database = base / "root", base / "state" / "log.db"
    known = root / "known"
    known.mkdir(parents=True)
    with serving({"root": root}, database, "--backend", backend) as server:
        server.wait_ready()
        server.pause()
        for number in range(0, count, PER_DIRECTORY):
            directory = known if number % (2 * PER_DIRECTORY) else root / f"new-{number}"
            directory.mkdir(exist_ok=True)
            for name in range(number, min(number + PER_DIRECTORY, count)):
                os.mknod(directory / str(name))
        expected = 1 + sum(len(names) + len(files) for _, names, files in os.walk(root))
        began = monotonic()
        server.resume()
        wait_until(lambda: _count(database) == expected, "all files are known")
        return _result(server, monotonic() - began)


def _count(database: Path) -> int:
    with contextlib.closing(open_reader(str(database))) as connection:
        return Tree(connection).count()


def _result(server: Server, seconds: float) -> Result:
    def state() -> dict[str, object]:
        found: dict[str, object] = server.get("/api/v1/status")[1]["roots"][0]
        return found

    wait_until(lambda: state()["state"] == "online", "comparisons have ended")
    found = state()
    compared = int(str(found["rescans"])) - 1
    return Result(seconds, int(str(found["overflows"])), compared, str(found["backend"]))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="burst", description="make files behind its back")
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    parser.add_argument("--backend", default="auto", help="what notices (default: auto)")
    parser.add_argument("--directory", type=Path, help="where (default: a temporary one)")
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="burst-", dir=given.directory))
    made = burst(base, given.backend, given.count)
    sys.stdout.write(
        f"{given.count} files with {made.backend}: all known {made.seconds:.2f} s after it went "
        f"on; {made.overflows} overflows, {made.comparisons} comparisons; {base}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
