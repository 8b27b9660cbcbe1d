"""Runs many random histories: `python -m tests.convergence.soak FIRST LAST`, or `make soak`.

Ends with 1 when any diverged. The seeds of those are printed, and their directories are kept.
"""

import argparse
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.convergence.world import HISTORIES, run_world

JOBS = 4
"""Worlds at a time: most of their time they wait."""


def run(
    first: int, last: int, base: Path, jobs: int = JOBS, *, library: bool = True
) -> Iterator[BaseException | None]:
    """Run the histories of some seeds, in worlds of a few each.

    Args:
        first: the first seed.
        last: the seed after the last one.
        base: directory for the worlds.
        jobs: worlds at a time.
        library: whether each has a user of the media library as well.

    Yields:
        For each world that ended, what went wrong.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures: list[Future[None]] = [
            pool.submit(
                run_world,
                base / f"world-{start}",
                start,
                min(start + HISTORIES, last),
                library=library,
            )
            for start in range(first, last, HISTORIES)
        ]
        for future in as_completed(futures):
            yield future.exception()


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="soak", description="run random histories")
    parser.add_argument("first", nargs="?", type=int, default=0, help="seed (default: 0)")
    parser.add_argument("last", nargs="?", type=int, default=1000, help="seed after the last one")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"worlds at a time ({JOBS})")
    parser.add_argument("--directory", type=Path, help="where (default: a temporary one)")
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="soak-", dir=given.directory))
    failed = 0
    for done, error in enumerate(run(given.first, given.last, base, given.jobs), 1):
        if error is not None:
            failed += 1
            said = traceback.format_exception(error)
            _say("\n".join(["DIVERGED", "".join(said)]))
        if done % 10 == 0:
            _say(f"{done * HISTORIES} histories, {failed} worlds diverged")
    _say(f"{given.last - given.first} histories, {failed} worlds diverged; below {base}")
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
