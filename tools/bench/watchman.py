"""Watchman, whose crawl of a tree into memory is the bar for a scan."""

import json
import socket
from pathlib import Path
from typing import Any

from tools.bench.process import Child
from tools.errors import OperatorError

_SYNC_MILLISECONDS = 600_000


class Watchman:
    """A server of its own, apart from any that the user may run.

    It speaks one JSON value a line on its socket
    (https://facebook.github.io/watchman/docs/socket-interface).

    Args:
        executable: the program.
        state: directory of its state, which names the watched trees from one start to the next.
    """

    def __init__(self, executable: str, state: Path) -> None:
        self._socket = state / "socket"
        self._socket.unlink(missing_ok=True)
        words = [
            executable,
            "--foreground",
            f"--sockname={self._socket}",
            f"--statefile={state / 'state'}",
            f"--logfile={state / 'log'}",
            f"--pidfile={state / 'pid'}",
        ]
        self.child = Child(words, state / "output")
        self._connection = socket.socket(socket.AF_UNIX)

    def until_crawled(self, tree: Path) -> float:
        """Return the seconds from its start until it knows the whole tree."""
        self.child.wait_until(self._connected)
        self._ask("watch", str(tree))
        self._ask("clock", str(tree), {"sync_timeout": _SYNC_MILLISECONDS})
        return self.child.age()

    def count(self, tree: Path) -> int:
        """Return how many entries it knows."""
        return len(self._ask("query", str(tree), {"fields": ["name"]})["files"])

    def stop(self) -> None:
        """Stop it cleanly."""
        self._connection.close()
        self.child.stop()

    def kill(self) -> None:
        """End it when something went wrong."""
        self.child.kill()

    def _connected(self) -> bool:
        try:
            self._connection.connect(str(self._socket))
        except OSError:
            return False
        return True

    def _ask(self, *command: object) -> dict[str, Any]:
        self._connection.sendall(json.dumps(command).encode() + b"\n")
        with self._connection.makefile("rb") as stream:
            answer: dict[str, Any] = json.loads(stream.readline())
        if "error" in answer:
            raise OperatorError(f"watchman {command[0]}: {answer['error']}")
        return answer
