"""A real server, real directories, clients, and a seed that says what happens to them."""

import contextlib
import functools
import itertools
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from eventlog import check
from eventlog.clock import SystemClock
from eventlog.connection import open_reader
from projections.from_snapshot import filling
from projections.replay import Comparison, compare
from projections.snapshot_store import Retention, SnapshotStore, line
from projections.tree import Tree
from tests.convergence.client import Client, FeedError, Told
from tests.convergence.disk import Picture, differences, picture
from tests.convergence.household import Household
from tests.convergence.operations import History
from tests.convergence.table import OrphanError, table_picture
from tests.serving import DEADLINE_SECONDS, Server, wait_until
from tools import control
from tools.client.wire import Page
from tools.control import CommandFailedError, NotRunningError

HISTORIES = 5
"""Histories that follow each other in one world, each ended by a comparison of everything."""

OPERATIONS_MAX = 60
"""In one phase of a history."""

SHOWN_MAX = 6
"""Differences told of one observer; the first are enough to see what went wrong."""

COPIES_MAX = 8
"""Clients of long ago that may come back."""

LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")


class DivergedError(AssertionError):
    """Somebody sees something else than what is on the disk."""


class World:
    """Two roots on one filesystem, a directory outside, a server, and its clients.

    Args:
        base: an empty directory of its own.
        seed: of everything that is left to chance.
        library: whether there is a user of the media library as well.
    """

    def __init__(self, base: Path, seed: int, *, library: bool) -> None:
        self.roots = {"one": base / "r1", "two": base / "r2"}
        self._outside = base / "outside"
        for directory in (*self.roots.values(), self._outside):
            directory.mkdir(parents=True)
        self._database = base / "state" / "log.db"
        self._snapshots = SnapshotStore(base / "state" / "snapshots")
        watches = "".join(f"  {name}: {path}\n" for name, path in self.roots.items())
        (base / "server.yaml").write_text(
            f"port: 0\ndatabase_url: {self._database}\nwatches:\n{watches}"
            f"library:\n  enabled: {str(library).lower()}\n"
        )
        self.server = Server("--config", str(base / "server.yaml"), "--backend", "inotify")
        self._household = Household(self.roots, self._database, seed) if library else None
        self._tops = {name: os.fsencode(path) for name, path in self.roots.items()}
        self._random = random.Random(seed)  # noqa: S311 - what happens must be repeatable
        self._follower = Client(seed)
        self._visitor = Client(seed + 1)
        self._told = {
            "a long poller": Told(seed, stream=False),
            "a stream": Told(seed, stream=True),
        }
        self._past: list[Client] = []
        self._linked = False
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        works = [self._follow, self._maintain]
        works += [functools.partial(self._be_told, told) for told in self._told.values()]
        self._threads = [threading.Thread(target=self._failing, args=(work,)) for work in works]

    @contextlib.contextmanager
    def living(self) -> Iterator[None]:
        """Have the followers follow; in the end, stop the server if it still runs."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._ending.set()
            if self.server.running:
                self.server.resume()
                self.server.kill()
            for thread in self._threads:
                thread.join()
            self._visitor.disconnect()

    def live(self, seed: int) -> None:
        """Let one history happen, then wait until everybody sees what is on the disk.

        Args:
            seed: of the history's operations.

        Raises:
            DivergedError: somebody does not, whatever the time.
            FeedError: the feed broke a promise.
        """
        links = self._random.random() < 0.2
        history = History(list(self.roots.values()), self._outside, seed, links=links)
        if not self.server.url:
            self._run(history)
            self._start()
        for _ in range(self._random.randint(2, 4)):
            kinds: list[Callable[[History], None]] = [
                self._while_up,
                self._while_down,
                self._while_stopped,
                self._through_a_kill,
                self._through_an_overflow,
                self._through_a_cut_request,
            ]
            self._random.choices(kinds, [10, 1, 1, 2, 2, 3])[0](history)
            self._visit()
        self._linked |= links
        if self._linked:
            # What was written through a link that vanished is told by no kernel interface.
            self.server.stop()
            self._start()
        self._settle()

    def finish(self) -> None:
        """Stop the server and check that its log is whole and enough.

        Raises:
            DivergedError: it is not.
        """
        self.server.stop()
        connection = open_reader(str(self._database))
        with contextlib.closing(connection):
            problems = list(check.check(connection))
            compared = compare(connection)
            again = self._compared_to_snapshot(connection)
        if problems or compared.different or again.different:
            raise DivergedError(f"the log: {problems} {compared} {again}")

    def _compared_to_snapshot(self, connection: apsw.Connection) -> Comparison:
        """Compare what is stored with what the newest snapshot and the log after it add up to."""
        file = self._snapshots.open(line(connection))
        if file is None:
            return compare(connection)
        with file:
            return compare(connection, fill=filling(file))

    # Phases of a history.

    def _run(self, history: History) -> None:
        history.run(self._random.randint(1, OPERATIONS_MAX))

    def _meet(self) -> None:
        if self._household:
            self._household.meet(self.server.url)

    def _start(self) -> None:
        self.server.start()
        self._meet()

    def _while_up(self, history: History) -> None:
        for _ in range(self._random.randint(1, 5)):
            history.run(self._random.randint(0, OPERATIONS_MAX // 3))
            if self._household:
                self._household.act(self._random.randint(0, 6))

    def _through_a_cut_request(self, history: History) -> None:
        """Kill it while it does what a user of the library asks for."""
        history.run(self._random.randint(0, 5))
        if self._household is None:
            self._while_down(history)
            return
        self._household.act_through_a_kill(self.server.kill)
        self._start()
        self._household.recover()

    def _while_down(self, history: History) -> None:
        self.server.kill()
        self._run(history)
        self._start()

    def _while_stopped(self, history: History) -> None:
        self.server.stop()
        self._run(history)
        self._start()

    def _through_a_kill(self, history: History) -> None:
        """Kill it in the middle of its work, and start it in the middle of more."""
        self._run(history)
        self.server.kill()
        starter = threading.Thread(target=self.server.start)
        starter.start()
        while starter.is_alive():
            history.run(5)
            starter.join(0.02)
        self._meet()
        self._run(history)

    def _through_an_overflow(self, history: History) -> None:
        """Fill the queue of one root while nobody reads it: what happens next is lost."""
        self.server.pause()
        try:
            self._run(history)
            storm(self._random.choice(list(self.roots.values())))
            self._run(history)
        finally:
            self.server.resume()

    # Clients.

    def _failing(self, work: Callable[[], None]) -> None:
        """Do something on a thread; what goes wrong is told by the main thread."""
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - as said
            self._failure = error

    def _follow(self) -> None:
        """Poll all the time, with pauses, through everything."""
        dice = random.Random(self._random.random())  # noqa: S311 - what happens must be repeatable
        try:
            while not self._ending.is_set():
                if self.server.url and self._follower.poll(self.server.url):
                    check_places(self._follower)
                if dice.random() < 0.1:
                    self._follower.disconnect()
                self._ending.wait(dice.choice([0, 0, 0.01, 0.1]))
        finally:
            self._follower.disconnect()

    def _be_told(self, told: Told) -> None:
        """Wait for news all the time, through everything."""

        def on_page(page: Page) -> bool:
            if not page.has_more:
                check_places(told)
            return not self._ending.is_set()

        while not self._ending.wait(0.01):
            if self.server.url:
                told.follow(self.server.url, on_page)

    def _maintain(self) -> None:
        """Compact the log down to each node's last event, and take snapshots, all the time."""
        while not self._ending.wait(0.2):
            with contextlib.suppress(NotRunningError, CommandFailedError):
                control.call(str(self._database), "compact", {"history_days": 0})
            if self.server.url:  # else the very first one may still be making the database
                self._take_snapshot()

    def _take_snapshot(self) -> None:
        now_us = SystemClock().now_us()
        with contextlib.closing(open_reader(str(self._database))) as reader:
            self._snapshots.take(reader, now_us)
            self._snapshots.prune(line(reader), Retention(keep=2, keep_days=1), now_us)

    def _visit(self) -> None:
        """Have the visitor read a little or all, and remember what it knew then."""
        for _ in range(self._random.randint(0, 3)):
            self._visitor.poll(self.server.url)
        if len(self._past) == COPIES_MAX:
            del self._past[self._random.randrange(COPIES_MAX)]
        self._past.append(self._visitor.copy())

    # The end of a history.

    def _settle(self) -> None:
        returning = self._random.choice([*self._past, Client(0)]).copy()
        last: dict[str, object] = {}

        def converged() -> bool:
            last.clear()
            last.update(self._differences(returning))
            return not last

        try:
            wait_until(converged, "everybody sees what is on the disk", DEADLINE_SECONDS / 2)
        except AssertionError as error:
            raise DivergedError(f"{error}: {last}; the server said: {self.server.said}") from error

    def _differences(self, returning: Client) -> dict[str, object]:
        """Return who sees what else than what is on the disk."""
        if self._failure is not None:
            raise self._failure
        if not self.server.running:
            raise DivergedError(f"the server has ended: {self.server.said}")
        truth = picture(list(self.roots.values()))
        views = {
            "the node table": self._table,
            "a fresh client": lambda: self._seen_by(Client(0)),
            "a client of old": lambda: self._seen_by(returning),
            "the visitor": lambda: self._seen_by(self._visitor),
        }
        if self._household and (found := self._household.differences(truth)):
            return found
        followers = {"the follower": self._follower, **self._told}
        for who, follower in followers.items():
            views[who] = functools.partial(self._known_to, follower)
        return {who: unlike for who, view in views.items() if (unlike := _unlike(truth, view))}

    def _known_to(self, follower: Client) -> Picture:
        return follower.copy().picture(self._tops)

    def _seen_by(self, client: Client) -> Picture:
        try:
            client.drain(self.server.url)
        finally:
            client.disconnect()
        return client.picture(self._tops)

    def _table(self) -> Picture:
        found: Picture = {}
        # All questions are asked in one read transaction, that is, of one state.
        with contextlib.closing(open_reader(str(self._database))) as connection, connection:
            found = table_picture(Tree(connection))
        return found  # noqa: RET504 - inside, the types would not tell that it always returns


def _unlike(truth: Picture, view: Callable[[], Picture]) -> object:
    try:
        seen = view()
    except (FeedError, OrphanError) as error:
        return str(error)
    return dict(itertools.islice(differences(truth, seen).items(), SHOWN_MAX))


def check_places(client: Client) -> None:
    """Check that no two live nodes are at one place, which holds at every head of the log.

    Raises:
        FeedError: two are.
    """
    places: dict[tuple[str | None, bytes], str] = {}
    for number, node in client.nodes.items():
        place = (node.parent_id, node.raw_name)
        if place in places:
            raise FeedError(f"at {client.cursor}, {places[place]} and {number} are at {place}")
        places[place] = number


def storm(directory: Path) -> None:
    """Make more events in a directory than a queue of the kernel's holds, leaving nothing."""
    files = [directory / "storm-1", directory / "storm-2"]
    for file in files:
        file.touch()
    # The kernel joins an event with the last one when they are the same: so two take turns.
    for time in range(int(LIMIT.read_text()) // 2 + 100):
        for file in files:
            os.utime(file, (time, time))
    for file in files:
        file.unlink()


def run_world(base: Path, first: int, last: int, *, library: bool = True) -> None:
    """Let histories happen one after the other in a world of their own.

    Args:
        base: where; removed afterwards unless something diverged.
        first: seed of the first history and of the world.
        last: seed after the last history.
        library: whether there is a user of the media library as well.

    Raises:
        DivergedError, FeedError: with the seed.
    """
    world = World(base, first, library=library)
    seed = first
    try:
        with world.living():
            for seed in range(first, last):
                world.live(seed)
            world.finish()
    except BaseException as error:
        error.add_note(f"seed {seed}; again: python -m tests.convergence.soak {first} {seed + 1}")
        raise
    shutil.rmtree(base)
