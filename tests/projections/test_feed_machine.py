"""Clients that only fold the feed end with the tree, whatever happens and whenever they ask.

A random history runs on the real log while clients poll at their own pace, and the log is closed,
opened, rebuilt, compacted, squashed and disturbed in between. A plain dictionary says what must
come out.
"""

import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from eventlog import codec
from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader, open_writer
from eventlog.events import Modified, Moved, Record, Removed, State
from eventlog.log import Draft, Log, Transaction
from eventlog.pace import Pace
from projections.changes import Page, read_page
from projections.replay import FOLDS, rebuild
from projections.squash import squash
from projections.tree import Tree
from tests.eventlog.helpers import FakeClock, assert_sound
from tests.model import Model
from tests.strategies import STEPS, History, happen

LIMITS = st.integers(1, 12)
GO_ON = 10**6
WINDOWS = st.sampled_from([0, 0, 1_000, 10**6])
"""Seconds."""
STOPS = st.just(GO_ON) | st.integers(0, 30)
"""How often a compaction may ask whether it should stop, until it should."""
MEMORY = Path("/dev/shm")  # noqa: S108 - a mount point; the folder in it is the test's own


class Client:
    """Someone who knows only what the feed said, and does what the feed's contract says."""

    def __init__(self) -> None:
        self.cursor = 0
        self.states: dict[int, State] = {}
        self.drained: set[int] = set()

    def poll(self, connection: apsw.Connection, limit: int) -> Page:
        """Fetch one page and fold it."""
        page = read_page(connection, self.cursor, limit)
        if 0 < self.cursor < page.floor:
            self.forget()
            page = read_page(connection, 0, limit)
        assert len(page.rows) <= limit
        assert page.cursor >= self.cursor
        assert page.cursor > self.cursor or not page.has_more
        for position, node, raw in page.rows:
            assert self.cursor < position <= page.cursor
            self._fold(node, codec.decode(raw, position))
        self.cursor = page.cursor
        return page

    def forget(self) -> None:
        """Begin anew."""
        self.cursor = 0
        self.states.clear()
        self.drained.clear()

    def _fold(self, node: int, event: object) -> None:
        assert node not in self.drained, "a node came twice in one drain without writes"
        self.drained.add(node)
        if isinstance(event, Removed):
            assert 0 < node <= self.cursor, "a tombstone of a node that this client never saw"
            self.states.pop(node, None)
        else:
            self.states[node] = event.state  # type: ignore[attr-defined]  # all others have one


class Stop(threading.Event):
    """Is set after it was asked so often."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


class FeedMachine(RuleBasedStateMachine):
    """The log, its clients, and the oracle."""

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self._path = Path(self._folder.name) / "log.db"
        self._clock = FakeClock()
        self._history = History()
        self._all: list[Client] = []
        self._dropped = 0
        self._open()

    def _open(self) -> None:
        self._log = Log(str(self._path), FOLDS, clock=self._clock)
        self._reader = open_reader(str(self._path))

    def _close(self) -> None:
        self._reader.close()
        self._log.close()

    def _append(self, records: list[Record]) -> None:
        if records:
            assert self._log.append(drafts(records)) == records[0].position
            for client in self._all:
                client.drained.clear()

    @initialize(target=clients)
    def first_client(self) -> Client:
        return self._new_client()

    @rule(target=clients)
    def another_client(self) -> Client:
        return self._new_client()

    def _new_client(self) -> Client:
        client = Client()
        self._all.append(client)
        return client

    @rule(steps=st.lists(STEPS, min_size=1, max_size=8))
    def things_happen(self, steps: list[bytes]) -> None:
        before = len(self._history.records)
        for step in steps:
            happen(self._history, step)
        self._append(self._history.records[before:])

    @rule(data=st.data())
    def two_nodes_exchange_places(self, data: st.DataObject) -> None:
        movable = sorted(n for n, state in self._history.live.items() if state.parent)
        if len(movable) < 2:
            return
        one, two = data.draw(st.lists(st.sampled_from(movable), min_size=2, max_size=2))
        before = len(self._history.records)
        first, second = self._history.live[one], self._history.live[two]
        self._move(one, first, second)
        self._move(two, second, first)
        self._append(self._history.records[before:])

    def _move(self, node: int, old: State, to: State) -> None:
        place = {"parent": to.parent, "name": to.name}
        fields = {name: getattr(old, name) for name in State.__struct_fields__}
        new = State(**{**fields, **place})
        self._history.put(node, Moved("", new, old.parent, old.name))

    @rule(steps=st.lists(STEPS, min_size=1, max_size=4))
    def a_job_fails(self, steps: list[bytes]) -> None:
        other = History()
        for step in steps:
            happen(other, step)

        def fail(transaction: Transaction) -> None:
            transaction.append(drafts(other.records))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self._log.call(fail)

    @rule(client=clients, limit=LIMITS)
    def a_client_fetches_a_page(self, client: Client, limit: int) -> None:
        self._poll(client, limit)

    @rule(client=clients, limits=st.lists(LIMITS, min_size=1, max_size=3))
    def a_client_catches_up(self, client: Client, limits: list[int]) -> None:
        turn = 0
        while self._poll(client, limits[turn % len(limits)]).has_more:
            turn += 1

    @rule(client=consumes(clients))
    def a_client_goes_for_ever(self, client: Client) -> None:
        self._all.remove(client)

    @rule(client=clients)
    def a_client_forgets_everything(self, client: Client) -> None:
        client.forget()

    def _poll(self, client: Client, limit: int) -> Page:
        start = client.cursor
        page = client.poll(self._reader, limit)
        if start == 0:
            assert not any(isinstance(codec.decode(r, p), Removed) for p, _, r in page.rows)
        if not page.has_more:
            assert page.cursor == self._log.head
            assert client.states == self._history.live
            client.drained.clear()
        return page

    @rule(seconds=st.integers(-(10**6), 10**6))
    def the_clock_jumps(self, seconds: int) -> None:
        self._clock.us += seconds * 10**6

    @rule()
    def the_server_restarts(self) -> None:
        log_id = self._log.log_id
        self._close()
        self._open()
        assert self._log.log_id == log_id

    @rule()
    def the_projections_are_rebuilt(self) -> None:
        other = open_writer(str(self._path))
        assert rebuild(other) == len(self._history.records) - self._dropped
        other.close()

    @rule(window=WINDOWS, stopped=STOPS)
    def the_log_is_compacted(self, window: int, stopped: int) -> None:
        """Sometimes not to its end; no client can tell."""
        self._dropped += self._compactor(window).run(Stop(stopped)).dropped

    @rule()
    def the_log_is_squashed(self) -> None:
        records = self._history.records
        floor = len(records)
        last = {record.node: record.position for record in records}
        pace = Pace(self._log, self._clock, Stop(GO_ON), 0)
        result = squash(self._log, self._compactor(10**6), pace)
        for node in sorted(self._history.live, key=lambda node: last[node]):
            self._history.put(node, Modified("squash", self._history.live[node]))
        self._dropped += result.dropped
        assert (result.complete, result.floor, self._log.floor) == (True, floor, floor)
        assert len(records) - self._dropped == len(self._history.live)
        for client in self._all:
            client.drained.clear()

    def _compactor(self, window_seconds: int) -> Compactor:
        self._clock.us += 1
        return Compactor(self._log, Options(window_seconds * 10**6), self._clock)

    @invariant()
    def the_head_is_the_last_position(self) -> None:
        assert self._log.head == len(self._history.records)

    @invariant()
    def the_tree_has_the_nodes_of_the_oracle(self) -> None:
        assert Tree(self._reader).count() == len(self._history.live)

    def teardown(self) -> None:
        try:
            self.the_log_is_compacted(0, GO_ON)  # whoever is behind now must not notice
            for client in [*self._all, Client()]:
                while self._poll(client, 7).has_more:
                    pass
            assert Model.of(self._history.records).states == self._history.live
            self._close()
            assert_sound(self._path)
        finally:
            self._log.close()
            self._folder.cleanup()


def drafts(records: list[Record]) -> list[Draft]:
    return [Draft(0 if r.node == r.position else r.node, r.event) for r in records]


EXAMPLES = {"dev": 60, "ci": 500, "nightly": 20_000}

TestFeedMachine = FeedMachine.TestCase
TestFeedMachine.settings = settings(
    max_examples=EXAMPLES.get(settings.get_current_profile_name(), 60), stateful_step_count=40
)
