"""A file store on a real root with a real observer, behind the real HTTP server."""

import contextlib
import gzip
import hashlib
import http.client
from collections.abc import Callable, Iterator
from email.utils import formatdate, mktime_tz, parsedate_tz
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from api.app import Dependencies, create_app
from api.limits import Limits
from eventlog.clock import SystemClock
from tests.api.support import READY, MemoryLog, Server, serving, status_of
from tests.watcher.nas import Nas, started
from tools import faces
from tools.document import FiletrackerSection

ROOT = "files"
DAY = 86_400
NOON = 1_700_000_000
"""A version that tests use; others are some seconds away."""


Field = Any
"""Value of a header field, given by keyword: always text."""


class Reply(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def version(self) -> int | None:
        """The version that was told."""
        found = parsedate_tz(self.fields.get("last-modified", ""))
        return None if found is None else int(mktime_tz(found))

    @property
    def reason(self) -> str:
        return self.fields["x-exception"]


class Asking:
    """A store that answers requests.

    Args:
        port: where; asked for each request.
        path: directory of its files.
    """

    def __init__(self, port: Callable[[], int], path: Path) -> None:
        self.port = port
        self.path = path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port()}"

    def ask(
        self, method: str, target: str, body: bytes | Iterator[bytes] | None = None, **fields: Field
    ) -> Reply:
        """Make a request on a connection of its own; underscores in names of fields are hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=60)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        with contextlib.closing(connection):
            connection.request(method, target, body, named)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, told, response.read())

    def put(
        self,
        path: str,
        body: bytes | Iterator[bytes] = b"data",
        version: int = NOON,
        **fields: Field,
    ) -> Reply:
        return self.ask("PUT", f"/files/{path}?{modified(version)}", body, **fields)

    def put_gzip(self, path: str, data: bytes, version: int = NOON, **fields: Field) -> Reply:
        """Put a file as the real client does."""
        claims: dict[str, Any] = {
            "Content_Encoding": "gzip",
            "SHA256_Checksum": hashlib.sha256(data).hexdigest(),
            "Logical_Size": str(len(data)),
        }
        return self.put(path, gzip.compress(data), version, **(claims | fields))

    def get(self, path: str, method: str = "GET", **fields: Field) -> Reply:
        return self.ask(method, f"/files/{path}", **fields)

    def delete(self, path: str, version: int = NOON, **fields: Field) -> Reply:
        return self.ask("DELETE", f"/files/{path}?{modified(version)}", **fields)

    def list(self, path: str = "", version: int | None = None, **fields: Field) -> Reply:
        query = "" if version is None else f"?{modified(version)}"
        return self.ask("GET", f"/list{path}{query}", **fields)

    def listed(self, path: str = "", version: int | None = None) -> set[str]:
        lines = self.list(path, version).body.decode().split("\n")
        assert lines.pop() == ""
        assert len(set(lines)) == len(lines)
        return set(lines)

    def staged(self) -> int:
        """Return how many files are being written, or were left behind."""
        directory = self.path / ".nasfeed" / "staging"
        return sum(1 for _ in directory.iterdir()) if directory.exists() else 0


class Tracked(Asking):
    """A store that is served by this process."""

    def __init__(self, nas: Nas, server: Server) -> None:
        super().__init__(lambda: server.port, nas.roots[ROOT])
        self.nas = nas
        self.server = server


def modified(version: int) -> str:
    """Return the parameter as the real client writes it."""
    return urlencode({"last_modified": formatdate(version)})


@contextlib.contextmanager
def tracked(base: Path, limits: Limits | None = None, **section: Any) -> Iterator[Tracked]:  # noqa: ANN401
    """Serve a store on a new directory."""
    path = base / ROOT
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    nas = Nas(base, {ROOT: path}, filetracker=FiletrackerSection(root=ROOT, **section))
    with started(nas):
        store = faces.filetracker(nas.config, nas.system, SystemClock())
        assert store is not None
        log = MemoryLog()
        dependencies = Dependencies(
            log, lambda: READY, lambda: status_of(log), "1.2.3", faces=(store,)
        )
        try:
            with serving(create_app(dependencies), limits) as server:
                yield Tracked(nas, server)
        finally:
            store.close()
