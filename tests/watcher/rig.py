"""The parts that follow one root, on a real directory and a real log, without threads of their own.

The backend is a fake: it tells what the test says, so that each order of events can be had.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from eventlog.clock import SystemClock
from eventlog.connection import open_reader
from eventlog.events import Content, Described, Event
from eventlog.library import LibraryEvent
from eventlog.log import Draft, Log
from eventlog.schema import batches
from projections.replay import FOLDS
from projections.tree import Node, Tree
from tests.watcher.fake_backend import FakeBackend
from watcher.backend import Hints, Place, Sign
from watcher.choose import Choice
from watcher.excludes import Excludes
from watcher.follower import Follower
from watcher.root import Root
from watcher.scan import Scan
from watcher.session import Session, Settings
from watcher.settle import Settling
from watcher.vanished import Vanished


class FakeClock:
    """Time that passes when the test says so; the time of day is the real one."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now_us(self) -> int:
        return SystemClock().now_us()

    def monotonic(self) -> float:
        return self.seconds


class Rig:
    """One root being followed, step by step.

    Args:
        path: of the root; made when missing.
        log: shared by the roots of one test.
        limit: of watches.
    """

    def __init__(self, path: Path, log: Log, limit: int | None = None) -> None:
        path.mkdir(exist_ok=True)
        self.path = path
        self.clock: FakeClock = FakeClock()
        self.backend = FakeBackend(limit=limit)
        self.elsewhere: list[Place] = []
        self.others_walk = False
        settings = Settings(
            excluded=Excludes(),
            private={},
            rescan_seconds=3600.0,
            limited_rescan_seconds=30.0,
            polling_seconds=10.0,
            directories_max=256,
            removal_percent=50.0,
            is_quiet=lambda: False,
            vanished=Vanished(self.clock),
            choose=lambda _fd: Choice(self.backend, "the test says so"),
            elsewhere=self.elsewhere.append,
            others_walk=lambda: self.others_walk,
        )
        self.session = Session(log, Root(path.name, bytes(path)), settings)
        self.number = self.session.attach(accept=False)
        self.tools = self.session.tools
        self.settling = Settling()
        self.follower = Follower(
            self.tools,
            self.settling,
            self.clock,
            self.number,
            self.session.check,
            settings.others_walk,
        )
        self.session.aftermath = self.follower.aftermath
        self._log = log
        self.log_path = log.path

    def close(self) -> None:
        self.session.__exit__()

    @property
    def tree(self) -> Tree:
        """The tree of everything that was recorded."""
        return self.tools.tree

    def scan(self, *, fresh: bool = False) -> Scan:
        """Compare the whole root, and what that brings up."""
        self.follower.start_scan(fresh=fresh)
        done = None
        for _ in range(1000):
            done = self.follower.work() or done
            if done is not None and not self.follower.busy:
                return done
        raise AssertionError("the scan does not end")

    def describe(self, path: str) -> None:
        """Have the content of a file described."""
        node = self.node(path)
        state = msgspec.structs.replace(node.state, content=Content.DONE, hash=bytes(16))
        self.append([Draft(node.number, Described("", state))])

    def append(self, drafts: list[Draft]) -> None:
        """Append events as someone else would."""
        self._log.append(drafts)

    def hint(self, path: str, sign: Sign) -> None:
        """Have the backend tell of a path below the root, whose directory must be known."""
        above, _, name = path.rpartition("/")
        number = self.node(above).number if above else self.number
        self.follower.take(Hints({Place(number, name.encode()): sign}, overflow=False))

    def work(self, rounds: int = 50) -> None:
        """Work until nothing is left that waits for nothing."""
        for _ in range(rounds):
            self.follower.work()
            if not self.follower.busy:
                return
        raise AssertionError("the work does not end")

    def wait(self, seconds: float) -> None:
        """Let time pass, working."""
        until = self.clock.seconds + seconds
        while self.clock.seconds < until:
            self.clock.seconds += 0.05
            self.work()

    def find(self, path: str) -> Node | None:
        """Return the node at a path below the root, or None."""
        return self.tree.resolve(bytes(self.path / path))

    def node(self, path: str) -> Node:
        """Return the node at a path below the root, which must be there."""
        node = self.find(path)
        assert node is not None, f"there is no node at {path}"
        return node

    def names(self) -> set[str]:
        """Return the paths of all nodes below the root."""
        found = {self.tree.path(number) for number in self.tree.descendants(self.number)}
        top = len(bytes(self.path)) + 1
        return {path[top:].decode(errors="surrogateescape") for path in found if path is not None}

    def events(self, after: int = 0) -> list[Event]:
        """Return the events of nodes above a position, in order."""
        with contextlib.closing(open_reader(self._log.path)) as connection:
            found = [record.event for batch in batches(connection, after) for record in batch]
        return [event for event in found if not isinstance(event, LibraryEvent)]


@contextlib.contextmanager
def rigs(directory: Path, *names: str, limit: int | None = None) -> Iterator[list[Rig]]:
    """Follow roots of these names in a directory, with one log."""
    with contextlib.ExitStack() as open_things:
        log = Log(str(directory / "log.db"), FOLDS)
        open_things.callback(log.close)
        made = []
        for name in names:
            rig = Rig(directory / name, log, limit)
            open_things.callback(rig.close)
            made.append(rig)
        yield made


@contextlib.contextmanager
def followed(directory: Path, limit: int | None = None) -> Iterator[Rig]:
    """Follow one root in a directory."""
    with rigs(directory, "root", limit=limit) as [rig]:
        yield rig
