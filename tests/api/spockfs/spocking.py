"""A filesystem on a real root with a real observer, behind the real HTTP server."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.limits import Limits
from api.spockfs.protocol import SpockProtocol
from eventlog.connection import open_reader
from eventlog.events import Created, Event, Modified
from eventlog.schema import batches
from tests.api.spockfs.client import Client
from tests.api.support import Server, serving
from tests.watcher.nas import Nas, started
from tools import spockfs
from tools.document import SpockfsSection

ROOT = "disk"


class Spocked(Client):
    """A filesystem that is served by this process.

    Attributes:
        nas: observes the root.
        path: the root's directory.
    """

    def __init__(self, nas: Nas, server: Server, fields: dict[str, str] | None = None) -> None:
        super().__init__(lambda: server.port, fields)
        self.nas = nas
        self.server = server
        self.path = nas.roots[ROOT]

    def at(self, name: str) -> Path:
        return self.path / name

    def as_(self, fields: dict[str, str]) -> "Spocked":
        """Return the same with fields that are sent with every request."""
        return Spocked(self.nas, self.server, fields)

    def events(self, after: int = 0) -> list[Event]:
        """Return the events above a position, in order."""
        with contextlib.closing(open_reader(self.nas.config.database)) as connection:
            found = [record.event for batch in batches(connection, after) for record in batch]
        return [event for event in found if isinstance(event, Event)]

    def made(self, after: int, name: bytes) -> list[Created | Modified]:
        """Return the events above a position that made or changed what has a name."""
        found = [event for event in self.events(after) if isinstance(event, Created | Modified)]
        return [event for event in found if event.state.name == name]


@contextlib.contextmanager
def spocked(base: Path, limits: Limits | None = None, **section: Any) -> Iterator[Spocked]:  # noqa: ANN401
    """Serve a new directory."""
    path = base / ROOT
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    nas = Nas(base, {ROOT: path}, spockfs=SpockfsSection(port=0, **section))
    with started(nas):
        face = spockfs.spockfs(nas.config, nas.system)
        assert face is not None
        with serving(face, limits, SpockProtocol) as server:
            yield Spocked(nas, server)
