"""The whole stack but HTTP, in this process, on real directories and the real kernel."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import watcher.scan
from eventlog import codec, history
from eventlog.clock import SystemClock
from eventlog.connection import open_reader
from eventlog.events import AnyEvent, Event, Removed
from projections.changes import read_page
from projections.tree import Node, Tree
from tests.convergence.disk import Picture, differences, picture
from tests.convergence.table import table_picture
from tests.serving import DEADLINE_SECONDS, wait_until
from tests.watcher import nurseries
from tools.compose import System
from tools.config import Config
from tools.observing import Observing
from tools.roots import Root
from watcher.status import RootStatus

if TYPE_CHECKING:
    from watcher.nursery import Nursery

POLL_SECONDS = 0.1

PAGE = 1_000_000

WALKED = "fanotify, walked"

BACKENDS = [
    "inotify",
    pytest.param("fanotify", marks=pytest.mark.privileged),
    pytest.param(WALKED, marks=pytest.mark.privileged),
    "poll",
]
"""What each scenario is tried with; in the third way, other processes help with all scans."""


class Nas:
    """A server's watching half, which can be stopped and started again.

    Args:
        base: where the database is, and the roots unless they are given.
        roots: path of each root by name.
        config: fields of `tools.config.Config` that are not the usual ones.
    """

    def __init__(self, base: Path, roots: dict[str, Path], **config: Any) -> None:  # noqa: ANN401
        self.roots = roots
        usual: dict[str, Any] = {
            "roots": tuple(Root(name, str(path)) for name, path in roots.items()),
            "database": str(base / "state" / "log.db"),
            "metadata_workers": 1,
            "backend": "inotify",
            "poll_interval": POLL_SECONDS,
        }
        self.walked = config.get("backend") == WALKED
        if self.walked:
            usual |= {"backend": "fanotify"}
            del config["backend"]
        self.config = Config(**(usual | config))
        self._system: System | None = None
        self._nursery: Nursery | None = None

    @property
    def system(self) -> System:
        """The running system."""
        assert self._system is not None
        return self._system

    def start(self) -> None:
        self._nursery = nurseries.start() if self.walked else None
        observing = Observing(self.config, SystemClock(), self._nursery)
        self._system = System(self.config, SystemClock(), observing)
        self._system.start()

    def helpers(self) -> list[int]:
        """Return the processes that help with scans."""
        pid = self._nursery.pid if self._nursery else 0
        try:
            return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        except FileNotFoundError:
            return []

    def stop(self) -> None:
        if self._system is not None:
            self._system.stop()
            self._system = None

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stop it while something happens; afterwards wait until it has scanned again."""
        self.stop()
        yield
        self.start()
        self.wait(lambda: all(s.scans for s in self.statuses()), "every root was scanned")

    @property
    def head(self) -> int:
        """The last position."""
        return self.system.log.head

    def statuses(self) -> list[RootStatus]:
        """Return the state of each root."""
        return [observer.status for observer in self.system.observers]

    def wait(self, true: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until something is true, and say how the roots are when it never is."""
        try:
            wait_until(true, what, seconds)
        except AssertionError as error:
            error.add_note(f"{self.statuses()}")
            raise

    @contextlib.contextmanager
    def tree(self) -> Iterator[Tree]:
        """Lend the tree as of one moment."""
        with (
            contextlib.closing(open_reader(self.config.database)) as connection,
            connection,
        ):
            yield Tree(connection)

    def table(self) -> Picture:
        """Return what the node table says is on the disk."""
        found: Picture = {}
        with self.tree() as tree:
            found = table_picture(tree)
        return found  # noqa: RET504 - inside, the types would not tell that it always returns

    def see(self, *tops: Path, seconds: float = 30.0) -> None:
        """Wait until the node table is what is on the disk, hashes included.

        Args:
            tops: only what is below these; all roots when none is given.
            seconds: the longest wait.
        """
        last: dict[bytes, object] = {}

        def seen() -> bool:
            last.clear()
            for top in tops or self.roots.values():
                prefix = bytes(top)
                known = {p: e for p, e in self.table().items() if _is_below(p, prefix)}
                last.update(differences(picture([top]), known))
            return not last

        try:
            self.wait(seen, "the table is what is on the disk", seconds)
        except AssertionError as error:
            error.add_note(f"path: (disk, table): {last}")
            raise

    def find(self, path: Path | bytes) -> Node | None:
        """Return the node at a path, or None."""
        with self.tree() as tree:
            return tree.resolve(bytes(path))

    def node(self, path: Path | bytes) -> Node:
        """Return the node at a path, which must be there."""
        node = self.find(path)
        assert node is not None, f"there is no node at {path!r}"
        return node

    def number(self, path: Path | bytes) -> int:
        """Return the number of the node at a path."""
        return self.node(path).number

    def feed(self, cursor: int) -> dict[int, Event]:
        """Return what a client at a cursor is told: the last event of each node."""
        with contextlib.closing(open_reader(self.config.database)) as connection:
            rows = read_page(connection, cursor, PAGE).rows
        assert len({node for _, node, _ in rows}) == len(rows)
        return {node: codec.decode(raw, position) for position, node, raw in rows}

    def events(self, cursor: int) -> list[AnyEvent]:
        """Return every event after a position, also those that newer ones have replaced."""
        with contextlib.closing(open_reader(self.config.database)) as connection:
            upto = history.head(connection)
            return [record.event for record in history.read(connection, cursor, upto)]

    def removals(self, cursor: int) -> dict[int, str]:
        """Return the reason of each removal that a client at a cursor is told of."""
        events = self.feed(cursor).items()
        return {node: event.reason for node, event in events if isinstance(event, Removed)}

    def updates(self, cursor: int) -> set[int]:
        """Return the nodes that a client at a cursor is told of as being there."""
        return {node for node, event in self.feed(cursor).items() if not isinstance(event, Removed)}

    def ids(self) -> dict[bytes, int]:
        """Return the number of each node by its path."""
        with self.tree() as tree:
            found = [
                n
                for root in tree.children(0)
                for n in [root.number, *tree.descendants(root.number)]
            ]
            return {tree.path(number) or b"": number for number in found}


def _is_below(path: bytes, top: bytes) -> bool:
    return path == top or path.startswith(top + b"/")


@contextlib.contextmanager
def running(base: Path, *names: str, **config: Any) -> Iterator[Nas]:  # noqa: ANN401
    """Start a system on new directories of these names."""
    roots = {name: base / name for name in names}
    for path in roots.values():
        path.mkdir(exist_ok=True)
    with started(Nas(base, roots, **config)) as nas:
        yield nas


@contextlib.contextmanager
def started(nas: Nas) -> Iterator[Nas]:
    """Start a system and wait until every root was scanned; stop it in the end."""
    alone = watcher.scan.ALONE_MAX
    if nas.walked:
        watcher.scan.ALONE_MAX = 0
    nas.start()
    try:
        nas.wait(lambda: all(s.scans for s in nas.statuses()), "every root was scanned")
        yield nas
    finally:
        nas.stop()
        watcher.scan.ALONE_MAX = alone


def write(path: Path, data: bytes = b"content") -> Path:
    """Write a file, making the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def inode(path: Path) -> int:
    """Return the inode number at a path, links not followed."""
    return os.lstat(path).st_ino
