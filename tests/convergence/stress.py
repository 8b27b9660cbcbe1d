"""Several processes change a root at once: `python -m tests.convergence.stress [FIRST LAST]`.

After each seed, what the server knows must be what is on the disk. How often it had to compare the
whole root for that is told. Ends with 1 when any seed diverged.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from tests.convergence import load
from tests.watcher.nas import Nas, running

SEEN_SECONDS = 300
"""The longest wait: what is polled rests nine times as long as a comparison took."""


@contextmanager
def stressed(base: Path, backend: str) -> Iterator[Nas]:
    """Start a server with an empty root, which compares nothing unless it must."""
    with running(base, "root", backend=backend, rescan_interval=1e9, removal_percent=100.0) as nas:
        yield nas


def stress(nas: Nas, seed: int, count: int = load.COUNT) -> float:
    """Have the processes of one seed change the root, and wait until the server knows it all.

    Args:
        nas: the server.
        seed: of what they do.
        count: operations of each.

    Returns:
        Seconds from the end of the last process until the server was seen to know all.

    Raises:
        AssertionError: it never knows.
    """
    top = nas.roots["root"] / f"seed-{seed}"
    top.mkdir()
    load.finish(load.start(top, seed, count))
    began = monotonic()
    try:
        nas.see(top, seconds=SEEN_SECONDS)
    except AssertionError as error:
        error.add_note(f"seed {seed}; again: python -m tests.convergence.stress {seed} {seed + 1}")
        raise
    took = monotonic() - began
    shutil.rmtree(top)
    nas.see(seconds=SEEN_SECONDS)
    return took


def comparisons(nas: Nas) -> int:
    """Return how many comparisons the server has made beside the first one."""
    return nas.statuses()[0].scans - 1


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="stress", description="change a root at once")
    parser.add_argument("first", nargs="?", type=int, default=0, help="seed (default: 0)")
    parser.add_argument("last", nargs="?", type=int, default=300, help="seed after the last one")
    parser.add_argument("--backend", default="auto", help="what notices (default: auto)")
    parser.add_argument("--count", type=int, default=load.COUNT, help="operations of each process")
    parser.add_argument("--directory", type=Path, help="where (default: a temporary one)")
    given = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="stress-", dir=given.directory))
    diverged: list[int] = []
    longest = 0.0
    with stressed(base, given.backend) as nas:
        for seed in range(given.first, given.last):
            try:
                longest = max(longest, stress(nas, seed, given.count))
            except AssertionError as error:
                diverged.append(seed)
                _say("\n".join([f"DIVERGED {error}", *error.__notes__]))
            if seed % 10 == 9:
                _say(f"{seed + 1 - given.first} seeds, {len(diverged)} diverged")
        status = nas.statuses()[0]
        compared = comparisons(nas)
    _say(
        f"{given.last - given.first} seeds with {status.backend} at {base}: {len(diverged)} "
        f"diverged; {compared} comparisons, {status.overflows} overflows; known {longest:.2f} s "
        "after the last operation at the latest"
    )
    return 1 if diverged else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
