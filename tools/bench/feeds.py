"""The servers of the feed protocol: nasfeed, and the peer that it is compatible with."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from tools.bench.process import Child
from tools.bench.wire import OK, Connection, free_port

PROJECT = Path(__file__).parents[2]

CURSOR = "/api/v1/cursor"


class Program(NamedTuple):
    """A server of the feed protocol.

    Attributes:
        name: for the table.
        words: its command line; `{}` stands for the configuration file.
        page: the most changes that it gives at once.
        keys: what its configuration has beside the seed's keys.
    """

    name: str
    words: tuple[str, ...]
    page: int
    keys: dict[str, object]


_INOTIFY: dict[str, object] = {"watcher": {"backend": "inotify"}}
"""The peer has no default, and its other backend notices nothing."""

NASFEED = Program("nasfeed", (sys.executable, "-m", "tools", "serve", "--config={}"), 10_000, {})


def wcpan(executable: Path) -> Program:
    """Return the peer, which is started as its command line wants it."""
    return Program("wcpan", (str(executable), "--config={}", "serve"), 1000, _INOTIFY)


class Feed:
    """A running server.

    Args:
        program: which one.
        tree: the directory that it watches.
        state: directory of its database, kept from one start to the next.
        keys: further keys of its configuration.
    """

    def __init__(
        self, program: Program, tree: Path, state: Path, keys: dict[str, object] | None = None
    ) -> None:
        self.program = program
        self.port = free_port()
        self.database = state / "feed.db"
        self._connection: Connection | None = None
        config = state / "config.yaml"
        document = {
            "host": "127.0.0.1",
            "port": self.port,
            "database_url": str(self.database),
            "watches": {"tree": str(tree)},
            **program.keys,
            **(keys or {}),
        }
        config.write_text(json.dumps(document))  # JSON is YAML
        words = [word.format(config) for word in program.words]
        self.child = Child(words, state / "output", PROJECT)

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for a path over a connection that is kept.

        Returns:
            The status, 0 while nobody listens, and the body.
        """
        try:
            if self._connection is None:
                self._connection = Connection(self.port)
            return self._connection.get(path)
        except OSError:
            self._connection = None
            return 0, b""

    def ready(self) -> bool:
        """Return whether it gives a usable cursor."""
        return self.get(CURSOR)[0] == OK

    def cursor(self) -> int:
        """Return where its log ends now."""
        return int(json.loads(self.get(CURSOR)[1])["cursor"])

    def described(self) -> bool:
        """Return whether every file has been hashed, as far as the server says."""
        if self.program is not NASFEED:  # the peer is not ready before
            return self.ready()
        status, body = self.get("/api/v1/status")
        if status != OK:
            return False
        answer = json.loads(body)
        metadata = answer["metadata"]
        return bool(answer["ready"] and metadata["done"] and not metadata["pending"])

    def stop(self) -> None:
        """Stop it cleanly."""
        if self._connection is not None:
            self._connection.close()
        self.child.stop()

    def kill(self) -> None:
        """End it when something went wrong."""
        self.child.kill()
