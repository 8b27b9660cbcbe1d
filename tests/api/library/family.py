"""A media library on real roots with a real observer, behind the real HTTP server; and clients."""

import contextlib
import functools
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from api.app import Dependencies, create_app
from api.library.face import LibraryFace
from api.library.passwords import hash_password
from eventlog import history
from eventlog.clock import Clock, SystemClock
from eventlog.connection import open_reader
from eventlog.library import Right
from projections import library_users
from projections.library_store import LibraryStore
from tests.api.support import READY, MemoryLog, Server, serving, status_of
from tests.serving import DEADLINE_SECONDS
from tests.watcher.nas import Nas, started
from tools import faces
from tools.document import LibrarySection

PASSWORD = "correct horse"  # noqa: S105 - of nobody


@functools.cache
def hashed() -> str:
    return hash_password(PASSWORD)


class Reply(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        assert self.fields["content-type"] == "application/json"
        assert self.body.isascii()
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> int:
        return int(self.json["code"])

    @property
    def data(self) -> Any:  # noqa: ANN401 - as JSON is
        assert self.code == 0, self.json
        return self.json.get("data")


class Person:
    """Somebody with a client.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""

    def ask(self, method: str, target: str, body: bytes | None = None, **fields: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        if self.cookie:
            named.setdefault("Cookie", self.cookie)
        with contextlib.closing(connection):
            connection.request(method, target, body, named)
            response = connection.getresponse()
            told = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, told, response.read())

    def get(self, name: str, /, **parameters: Any) -> Reply:  # noqa: ANN401 - anything
        return self.ask("GET", f"/{name}.icc?{urlencode(parameters)}")

    def post(self, name: str, /, **parameters: Any) -> Reply:  # noqa: ANN401 - anything
        body = json.dumps(parameters).encode()
        return self.ask("POST", f"/{name}.icc", body, Content_Type="application/json")

    def log_in(self, name: str, password: str = PASSWORD) -> Reply:
        reply = self.post("login", userName=name, password=password)
        if reply.code == 0:
            self.cookie = reply.fields["set-cookie"].partition(";")[0]
        return reply


class Family:
    """A library that is served by this process."""

    def __init__(self, nas: Nas, server: Server, face: LibraryFace) -> None:
        self.nas = nas
        self.face = face
        self.server = server
        self.store = LibraryStore(nas.system.log)

    def person(self, name: str = "") -> Person:
        """Return somebody, logged in if there is a name."""
        person = Person(self.server.port)
        if name:
            assert person.log_in(name).code == 0
        return person

    def add(self, name: str, *rights: Right) -> int:
        return self.store.change(library_users.add(name, hashed(), rights), "test")

    def look_after(self) -> None:
        """Do at once what is done every half minute."""
        self.face.look_after()

    def author_of(self, path: Path) -> str:
        """Return who made the node at a path."""
        number = self.number(path)
        with contextlib.closing(open_reader(self.nas.config.database)) as connection:
            record = next(history.read(connection, 0, 2**62, number))
        return record.event.author

    def received(self, number: int) -> int:
        """Return how many bytes of an upload are on the disk, whatever the log says."""
        with self.store.reading() as view:
            upload = view.library.upload(number)
        assert upload is not None
        roots = self.nas.roots.values()
        origins = [root / ".nasfeed" / "uploads" / f"{upload.key}.origin" for root in roots]
        return sum(path.stat().st_size for path in origins if path.exists())

    def root(self, name: str) -> int:
        with self.nas.tree() as tree:
            return next(n.number for n in tree.children(0) if n.state.name == name.encode())

    def number(self, path: Path) -> int:
        """Return the number of the node of a path, once there is one."""

        def find() -> int:
            with self.nas.tree() as tree:
                node = tree.resolve(bytes(path))
            return node.number if node else 0

        self.nas.wait(lambda: find() > 0, f"{path} is known")
        return find()


@contextlib.contextmanager
def family(
    base: Path,
    clock: Clock | None = None,
    roots: tuple[str, ...] = ("photos", "music"),
    **section: Any,  # noqa: ANN401 - fields of the section
) -> Iterator[Family]:
    """Serve a library on new directories."""
    paths = {name: base / name for name in roots}
    for path in paths.values():
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    nas = Nas(base, paths, library=LibrarySection(enabled=True, **section))
    with started(nas):
        face = faces.library(nas.config, nas.system, clock or SystemClock())
        assert face is not None
        log = MemoryLog()
        dependencies = Dependencies(
            log, lambda: READY, lambda: status_of(log), "1.2.3", faces=(face,)
        )
        try:
            with serving(create_app(dependencies)) as server:
                home = Family(nas, server, face)
                yield home
                home.store.close()
        finally:
            face.close()
