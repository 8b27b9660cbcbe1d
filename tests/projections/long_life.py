"""A log that lives long: it is compacted, squashed, backed up and restored while clients read it.

A plain dictionary says what there is. Clients come back with cursors of any age, fold what they are
given as the feed's contract says, and must end with it; or they are refused, and begin again.
"""

import contextlib
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from eventlog import codec
from eventlog.archive import Archive
from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader, open_writer
from eventlog.epochs import is_lost
from eventlog.events import Event, Record, Removed, State
from eventlog.log import Draft, Log
from eventlog.pace import Pace
from projections.backup import back_up
from projections.changes import Page, read_page
from projections.filter import Filter
from projections.from_snapshot import filling
from projections.replay import FOLDS, rebuild, table_rows
from projections.restore import examine, restore
from projections.snapshot_store import SnapshotStore, line
from projections.squash import squash
from projections.tree import Tree
from tests.eventlog.helpers import FakeClock, assert_sound
from tests.projections.filtering import FILTERS, TypedHistory, matching
from tests.projections.filtering import Client as FilteredClient
from tests.strategies import STEPS, History, happen

MEMORY = Path("/dev/shm")  # noqa: S108 - a mount point; the folder in it is the test's own
HOUR_US = 3_600_000_000
LIMITS = st.integers(1, 12)


class Client(NamedTuple):
    """What someone knows who was here once: of which log, up to where, and what there was."""

    log_id: str
    cursor: int
    states: dict[int, State]


class Saved(NamedTuple):
    """A backup, and what there was then."""

    path: Path
    live: dict[int, State]
    past: list[Record]


class Positioned(History):
    """A history whose positions the log gives, because a squash appends as well.

    Attributes:
        head: the last position.
    """

    def __init__(self) -> None:
        super().__init__()
        self.head = 0

    def put(self, node: int, event: Event) -> None:
        self.head += 1
        self.records.append(Record(self.head, node or self.head, 0, event))
        if isinstance(event, Removed):
            del self.live[node]
        else:
            self.live[node or self.head] = event.state


class Life(TypedHistory, Positioned):
    """The same, of files that have types."""


class LongLife(RuleBasedStateMachine):
    """The log, whoever reads it, and the oracle."""

    clients = Bundle("clients")
    choosers = Bundle("choosers")
    backups = Bundle("backups")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self._base = Path(self._folder.name)
        self._path = str(self._base / "log.db")
        self._clock = FakeClock()
        self._life = Life()
        self._choosers: list[FilteredClient] = []
        self._archive = Archive(str(self._base / "archive"))
        self._snapshots = SnapshotStore(self._base / "snapshots")
        self._open()

    def _open(self) -> None:
        self._log = Log(self._path, FOLDS, clock=self._clock)
        self._reader = open_reader(self._path)

    def _close(self) -> None:
        self._reader.close()
        self._log.close()

    # What happens on the disk.

    @rule(steps=st.lists(STEPS, min_size=1, max_size=8))
    def things_happen(self, steps: list[bytes]) -> None:
        before = len(self._life.records)
        for step in steps:
            happen(self._life, step)
        new = self._life.records[before:]
        drafts = [Draft(0 if r.node == r.position else r.node, r.event) for r in new]
        if new:
            assert self._log.append(drafts) == new[0].position

    @rule(hours=st.integers(1, 48))
    def time_passes(self, hours: int) -> None:
        self._clock.us += hours * HOUR_US

    # Who reads.

    @initialize(target=clients)
    def a_client_begins(self) -> Client:
        return Client(self._log.log_id, 0, {})

    @rule(target=clients, client=clients, limit=LIMITS)
    def a_client_reads_a_page(self, client: Client, limit: int) -> Client:
        """The one that it was before stays as well, and may read from there another time."""
        return self._read(client, limit)[0]

    @rule(target=clients, client=clients, limit=LIMITS)
    def a_client_catches_up(self, client: Client, limit: int) -> Client:
        has_more = True
        while has_more:
            client, has_more = self._read(client, limit)
        assert client.states == self._life.live
        return client

    def _read(self, client: Client, limit: int) -> tuple[Client, bool]:
        """Fetch one page and fold it, after a refusal from the beginning."""
        if self._is_refused(client.cursor):
            client = Client(self._log.log_id, 0, {})
        page = read_page(self._reader, client.cursor, limit)
        states = dict(client.states)
        for position, node, raw in page.rows:
            event = codec.decode(raw, position)
            if isinstance(event, Removed):
                assert node <= client.cursor, "a tombstone of a node that this client never saw"
                states.pop(node, None)
            else:
                states[node] = event.state
        return Client(client.log_id, page.cursor, states), page.has_more

    @rule(target=choosers, wanted=FILTERS, sends_since=st.booleans())
    def a_client_wants_a_part(self, wanted: Filter, sends_since: bool) -> FilteredClient:  # noqa: FBT001 - drawn
        chooser = FilteredClient(wanted, sends_since=sends_since)
        self._choosers.append(chooser)
        return chooser

    @rule(chooser=choosers, limit=LIMITS)
    def a_client_reads_a_page_of_its_part(self, chooser: FilteredClient, limit: int) -> None:
        self._choose(chooser, limit)

    def _choose(self, chooser: FilteredClient, limit: int) -> bool:
        if self._is_refused(chooser.cursor):
            chooser.cursor = chooser.since = 0
            chooser.states.clear()
        has_more = chooser.poll(self._reader, limit).has_more
        if not has_more:
            assert chooser.states == matching(self._life.live, chooser.wanted)
        return has_more

    def _is_refused(self, cursor: int) -> bool:
        """Do as the feed does for a client that names no log."""
        return (
            0 < cursor < self._log.floor
            or cursor > self._log.head
            or is_lost(cursor, self._log.gaps)
        )

    # What is done to the log.

    @rule(hours=st.integers(0, 72), steps=st.integers(0, 3), is_archived=st.booleans())
    def it_is_compacted(self, hours: int, steps: int, is_archived: bool) -> None:  # noqa: FBT001 - drawn
        """Whole or in part: it is stopped after some steps."""
        before = self._answers()
        stop = threading.Event()
        left = iter(range(steps))

        def report(_done: int, _of: int) -> None:
            if next(left, None) is None:
                stop.set()

        self._compactor(hours, is_archived=is_archived).run(stop, report=report)
        assert self._answers() == before

    def _answers(self) -> list[Page]:
        """Return what some cursors are answered."""
        cursors = [0, *(record.position for record in self._life.records[::3])]
        return [read_page(self._reader, cursor, 1000) for cursor in cursors]

    def _compactor(self, hours: int, *, is_archived: bool) -> Compactor:
        options = Options(hours * HOUR_US, self._archive if is_archived else None)
        return Compactor(self._log, options, self._clock)

    @rule(steps=st.integers(0, 3))
    def it_is_squashed(self, steps: int) -> None:
        """Whole or in part: it is stopped after some steps."""
        stop = threading.Event()
        left = iter(range(steps))

        def report(_done: int, _of: int) -> None:
            if next(left, None) is None:
                stop.set()

        pace = Pace(self._log, self._clock, stop, 0.0)
        squash(self._log, self._compactor(0, is_archived=False), pace, report)
        self._life.head = self._log.head

    @rule()
    def a_snapshot_is_taken(self) -> None:
        self._snapshots.take(self._reader, self._clock.us)

    @rule()
    def the_projections_are_rebuilt(self) -> None:
        """From the newest snapshot, if there is one that fits."""
        expected = table_rows(self._reader)
        file = self._snapshots.open(line(self._reader))
        with contextlib.closing(open_writer(self._path)) as other:
            if file is None:
                rebuild(other)
            else:
                with file:
                    rebuild(other, fill=filling(file))
        assert table_rows(self._reader) == expected

    @rule()
    def the_server_restarts(self) -> None:
        log_id, floor = self._log.log_id, self._log.floor
        self._close()
        self._open()
        assert (self._log.log_id, self._log.floor) == (log_id, floor)

    @rule(target=backups)
    def it_is_backed_up(self) -> Saved:
        path = self._base / f"backup-{self._life.head}"
        back_up(self._path, path)
        return Saved(path, dict(self._life.live), list(self._life.records))

    @rule(saved=backups)
    def it_is_restored(self, saved: Saved) -> None:
        log_id, head = self._log.log_id, self._log.head
        self._close()
        restore(examine(saved.path), self._path, self._clock.us)
        self._open()
        assert self._log.log_id != log_id
        assert self._log.head > head, "a position would be given twice"
        self._life.head = self._log.head
        self._life.live = dict(saved.live)
        self._life.records = list(saved.past)

    # What always holds.

    @invariant()
    def the_tree_has_the_nodes_of_the_oracle(self) -> None:
        assert Tree(self._reader).count() == len(self._life.live)

    @invariant()
    def the_head_is_the_last_position(self) -> None:
        assert self._log.head == self._life.head

    def teardown(self) -> None:
        try:
            client, has_more = self._read(Client("", 0, {}), 10_000)
            assert not has_more
            assert client.states == self._life.live
            for chooser in self._choosers:
                while self._choose(chooser, 7):
                    pass
            self._close()
            assert_sound(Path(self._path))
        finally:
            self._log.close()
            self._folder.cleanup()
