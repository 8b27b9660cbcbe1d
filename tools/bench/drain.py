"""A client that reads the whole feed and looks at nothing but where to go on.

In a process of its own, so that it takes no time from the one that measures:
`python -m tools.bench.drain PORT PAGE` prints the seconds it took.
"""

import re
import subprocess
import sys

from eventlog.clock import SystemClock
from tools.bench.wire import OK, Connection
from tools.errors import OperatorError

_CURSOR = re.compile(rb'"cursor": ?(\d+)')
_MORE = re.compile(rb'"has_more": ?true')
_TAIL_BYTES = 200
"""Every server writes `has_more` after the changes."""


def drain(port: int, page: int) -> list[bytes]:
    """Read all pages.

    Raises:
        OperatorError: the server refused.
    """
    connection, cursor, pages, more = Connection(port), 0, [], True
    while more:
        status, body = connection.get(f"/api/v1/changes?cursor={cursor}&max_size={page}")
        found = _CURSOR.search(body)
        if status != OK or not found:
            raise OperatorError(f"port {port}: changes after {cursor} gave status {status}")
        cursor = int(found[1])
        more = _MORE.search(body, len(body) - _TAIL_BYTES) is not None
        pages.append(body)
    connection.close()
    return pages


def seconds(port: int, page: int) -> float:
    """Return how long a drain takes in another process."""
    words = [sys.executable, "-m", "tools.bench.drain", str(port), str(page)]
    done = subprocess.run(words, check=True, capture_output=True)  # noqa: S603 - our own module
    return float(done.stdout)


def _main() -> None:
    clock = SystemClock()
    started = clock.monotonic()
    drain(int(sys.argv[1]), int(sys.argv[2]))
    print(clock.monotonic() - started)


if __name__ == "__main__":
    _main()
