"""What the tests of the API share: a log in memory, a server in a thread, raw connections."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import apsw

from api.app import Access, Dependencies, create_app
from api.asgi import QuickApplication
from api.connections import Connections
from api.limits import Delivery, Limits
from api.listening import Bound
from api.operations import Operations
from api.protocol import GuardedProtocol
from api.server import Address, serve
from api.status import Health, LogStatus, MetadataStatus, Progress, Readiness, Status, WatchStatus
from eventlog import codec
from eventlog.epochs import Gap, is_lost
from eventlog.events import Created, Event, Modified, Reason, Record, Removed, State
from eventlog.identifiers import NodeIds
from eventlog.wakeup import Wakeup
from projections import filtered
from projections.bootstrap import Bootstrap, Row
from projections.changes import Page
from projections.filter import Filter
from projections.filtered import FilteredPage
from projections.overlay import Overlays
from projections.past import Past, reading
from tests.projections.snapshots import log_of

PREFIX = "01234567-89ab-8def-8123-"
LOG_ID = "0123456789abcdef0123456789abcdef"
DEADLINE_SECONDS = 30.0


def node_id(number: int) -> str:
    return f"{PREFIX}{number:012x}" if number else "00000000-0000-0000-0000-000000000000"


def state(name: bytes = b"a.txt", parent: int = 0, **changed: object) -> State:
    fields: dict[str, Any] = {
        "parent": parent,
        "name": name,
        "mode": stat.S_IFREG | 0o644,
        "size": 3,
        "mtime_ns": 1_772_625_600_000_000_000,
        "ctime_ns": 1_772_625_600_000_000_000,
        "fs": 1,
        "ino": 2,
        "uid": 0,
        "gid": 0,
        "nlink": 1,
    }
    return State(**(fields | changed))


class MemoryLog:
    """A `FeedLog` whose events are in a list; compared with the real one in test_feed_log."""

    def __init__(self, log_id: str = LOG_ID) -> None:
        self.log_id = log_id
        self.ids = NodeIds(PREFIX)
        self.events: list[tuple[int, int, Event]] = []
        self.paths: dict[int, bytes] = {}
        self.first = 0
        self.first_of_page = 0
        self.behind = 0
        self.gaps: list[Gap] = []
        self.wakeup = Wakeup()

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self.wakeup.subscribe(callback)

    def head(self) -> int:
        return len(self.events) - self.behind

    def floor(self) -> int:
        return self.first

    def is_lost(self, cursor: int) -> bool:
        return is_lost(cursor, self.gaps)

    def append(self, event: Event, node: int = 0) -> int:
        position = len(self.events) + 1
        self.events.append((position, node or position, event))
        self.wakeup.notify()
        return position

    def create(self, name: bytes = b"a.txt", parent: int = 0, **changed: object) -> int:
        return self.append(Created("", state(name, parent, **changed)))

    def modify(self, node: int, name: bytes = b"a.txt", **changed: object) -> int:
        return self.append(Modified("", state(name, 0, **changed)), node)

    def remove(self, node: int, name: bytes = b"a.txt", parent: int = 0) -> int:
        return self.append(Removed("", Reason.DELETED, parent, name, stat.S_IFREG | 0o644), node)

    def changes(self, cursor: int, limit: int) -> Page:
        events = self.events[:]  # as one transaction sees them
        last = {node: position for position, node, _ in events}
        rows = [
            (position, node, codec.encode(event))
            for position, node, event in events
            if position > cursor
            and last[node] == position
            and not (isinstance(event, Removed) and node > cursor)
        ]
        if len(rows) > limit:
            page = Page(rows[limit - 1][0], has_more=True, rows=rows[:limit])
        else:
            page = Page(len(events), has_more=False, rows=rows)
        return page._replace(floor=self.first_of_page)

    def bootstrap_page(self, walk: Bootstrap) -> list[Row]:
        with self._stored() as connection:
            return walk.page(connection)

    def path(self, number: int) -> bytes | None:
        return self.paths.get(number)

    def knows(self, wanted: Filter) -> bool:
        with self._stored() as connection:
            return filtered.is_known(connection, wanted)

    def filtered(self, wanted: Filter, cursor: int, since: int, limit: int) -> FilteredPage:
        with self._stored() as connection:
            page = filtered.read_page(connection, wanted, cursor, since, limit)
        return page._replace(floor=self.first_of_page)

    def below(
        self, wanted: Filter, cursor: int, since: int, numbers: Sequence[int]
    ) -> list[tuple[int, int, bytes]]:
        with self._stored() as connection:
            return filtered.read_below(connection, wanted, cursor, since, numbers)

    @contextlib.contextmanager
    def past(self) -> Iterator[Past]:
        with self._stored() as connection, reading(connection, Overlays()) as past:
            yield past

    def _stored(self) -> contextlib.closing[apsw.Connection]:
        records = [Record(p, node, p * 1_000_000, event) for p, node, event in self.events]
        return contextlib.closing(log_of(records))


READY = Readiness(ready=True)
STARTING = Readiness(ready=False, progress=Progress(entries=7, directories=2, seconds=1.5))


def status_of(log: MemoryLog) -> Status:
    return Status(
        version="1.2.3",
        log_id=log.log_id,
        head=log.head(),
        floor=log.floor(),
        ready=True,
        roots=[],
        metadata=MetadataStatus(),
        watches=WatchStatus(),
        log=LogStatus(),
        warnings=[],
    )


def make_app(
    log: MemoryLog,
    readiness: Readiness = READY,
    access: Access | None = None,
    health: Health | None = None,
    delivery: Delivery | None = None,
) -> QuickApplication:
    operations = Operations(lambda: health or Health())
    dependencies = Dependencies(log, lambda: readiness, lambda: status_of(log), "1.2.3", operations)
    return create_app(dependencies, access, delivery)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - as json.loads
        return json.loads(self.body)


class Server:
    """A server that runs in a thread of its own."""

    def __init__(
        self,
        app: QuickApplication,
        limits: Limits | None = None,
        protocol: type[GuardedProtocol] = GuardedProtocol,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self._app = app
        self._loop_factory = loop_factory
        self._protocol = protocol
        self.connections = Connections(limits)
        self._listening = threading.Event()
        self._addresses: list[Address] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listening.wait(DEADLINE_SECONDS), "the server does not start"
        if self.error:
            raise self.error

    @property
    def port(self) -> int:
        return self._addresses[0][1]

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._loop_factory) as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - shown by the test that waits
            self.error = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        with Bound("127.0.0.1", 0) as bound:
            await serve(
                self._app, bound, self._stop, self._on_ready, self.connections, self._protocol
            )

    def _on_ready(self, addresses: list[Address]) -> None:
        self._addresses = addresses
        self._listening.set()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait, looking now and then."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "it did not come about"
            pause.wait(0.005)

    def stop(self) -> None:
        """Stop it and wait; fails if it ended with an error."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), "the server does not stop"
        assert self.error is None, self.error

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """Make one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_SECONDS)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, headers=named)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, fields, response.read())

    def get(self, target: str, **headers: str) -> Any:  # noqa: ANN401 - as json.loads
        """Return the JSON of a good answer."""
        answer = self.ask(target, **headers)
        assert answer.status == 200, answer
        return answer.json

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_SECONDS)


@contextlib.contextmanager
def serving(
    app: QuickApplication,
    limits: Limits | None = None,
    protocol: type[GuardedProtocol] = GuardedProtocol,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> Iterator[Server]:
    server = Server(app, limits, protocol, loop_factory)
    try:
        yield server
    finally:
        server.stop()


def read_answer(connection: socket.socket) -> int:
    """Read one answer, to its last byte and no further; return its status."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    length = int(re.findall(rb"content-length: (\d+)", head)[0])
    while length:
        length -= len(connection.recv(length))
    return int(head.split(b" ", 2)[1])


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes, cleanly or not."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def statuses(raw: bytes) -> list[int]:
    """Return the status of each answer in what a server sent."""
    found = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        found.append(int(head.split(b" ", 2)[1]))
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        raw = rest[length:]
    return found
