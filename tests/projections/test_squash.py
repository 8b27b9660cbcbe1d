"""A squash forgets what is gone, and at every moment no cursor gets a wrong answer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given, settings

from eventlog import codec, history, whole
from eventlog.archive import Archive
from eventlog.compaction import Compactor, Options
from eventlog.connection import fetch, open_reader
from eventlog.events import Created, Modified, Reason, Record, Removed, State
from eventlog.log import Draft, Log, Transaction
from eventlog.pace import Pace
from eventlog.segment import ArchiveError
from projections.changes import read_page
from projections.replay import FOLDS
from projections.squash import Squashed, count_tombstones, finish, squash
from projections.tree import Tree
from tests.eventlog.helpers import (
    FakeClock,
    assert_sound,
    created,
    directory_state,
    files,
    root_state,
    sound_log,
)
from tests.model import Model
from tests.strategies import histories

WINDOW_US = 10**15
T = TypeVar("T")
Steps = Callable[[], object]


class Between(Pace):
    """Does something between all steps."""

    def __init__(self, log: Log, stop: threading.Event, do: Steps) -> None:
        super().__init__(log, FakeClock(), stop, 0)
        self._do = do

    def run(self, step: Callable[[Transaction], T]) -> T:
        self.size = 7
        result = super().run(step)
        self._do()
        return result


class Client:
    """Folds the feed as its contract says, and begins anew when its cursor is refused."""

    def __init__(self) -> None:
        self.cursor = 0
        self.states: dict[int, State] = {}
        self.resets = 0

    def poll(self, log: Log, limit: int) -> bool:
        """Read a page; return whether there are more."""
        with closing(open_reader(log.path)) as reader:
            page = read_page(reader, self.cursor, limit)
        if 0 < self.cursor < page.floor:
            self.cursor, self.resets = 0, self.resets + 1
            self.states.clear()
            return True
        for position, node, raw in page.rows:
            event = codec.decode(raw, position)
            if isinstance(event, Removed):
                assert self.cursor >= node
                self.states.pop(node, None)
            else:
                self.states[node] = event.state
        self.cursor = page.cursor
        return page.has_more

    def drain(self, log: Log, limit: int = 5) -> None:
        while self.poll(log, limit):
            pass


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with sound_log(tmp_path / "log.db", FakeClock()) as opened:
        yield opened


def compactor(log: Log, archive: Archive | None = None) -> Compactor:
    return Compactor(log, Options(WINDOW_US, archive), FakeClock())


def run(log: Log, archive: Archive | None = None) -> Squashed:
    pace = Pace(log, FakeClock(), threading.Event(), 0)
    return squash(log, compactor(log, archive), pace)


def fill(log: Log) -> None:
    log.append([created(root_state()), *files(60)])
    for node in range(2, 62, 3):
        log.append([removed(log, node)])
    log.append([modified(log, node) for node in range(3, 62, 3)])


def test_what_is_asked_is_done_also_after_another_was_ended_before_its_time(tmp_path: Path) -> None:
    with sound_log(tmp_path / "log.db", FakeClock()) as log:
        log.append([created(root_state()), *files(3)])
        log.call(lambda tx: tx.set_meta("squash", str(tx.position)))
        log.append([removed(log, 2), *files(2, "later")])
        head = log.head
        done = run(log)
        assert (done.complete, log.floor >= head, done.nodes >= 5) == (True, True, True)
        with closing(open_reader(log.path)) as reader:
            assert count_tombstones(reader) == 0


def removed(log: Log, node: int) -> Draft:
    state = state_of(log, node)
    return Draft(node, Removed("", Reason.DELETED, state.parent, state.name, state.mode))


def modified(log: Log, node: int) -> Draft:
    state = state_of(log, node)
    fields = {name: getattr(state, name) for name in State.__struct_fields__}
    return Draft(node, Modified("", State(**{**fields, "size": state.size + 1})))


def state_of(log: Log, node: int) -> State:
    with closing(open_reader(log.path)) as reader:
        found = Tree(reader).node(node)
    assert found is not None
    return found.state


def model_of(log: Log) -> Model:
    with closing(open_reader(log.path)) as reader:
        return Model.of(history.read(reader, 0, log.head))


@settings(deadline=None, max_examples=30)
@given(histories(longest=40))
def test_only_what_is_there_is_left_and_everyone_gets_there(records: list[Record]) -> None:
    with (
        TemporaryDirectory() as folder,
        sound_log(Path(folder) / "log.db", FakeClock()) as log,
    ):
        clients = [Client()]
        for record in records:
            log.append([Draft(0 if record.node == record.position else record.node, record.event)])
            clients.append(Client())
            clients[-1].drain(log)
        live, head = Model.of(records).states, log.head
        result = run(log)
        assert (result.floor, result.nodes, result.complete) == (head, len(live), True)
        assert log.floor == head
        with closing(open_reader(log.path)) as reader:
            left = list(history.read(reader, 0, log.head))
            assert count_tombstones(reader) == 0
        assert sorted(r.node for r in left) == sorted(live)
        assert all(r.position > head for r in left)
        for client in clients:
            was = client.cursor
            client.drain(log)
            assert client.states == live
            assert client.resets == (0 < was < head)


def test_ids_and_states_stay_and_the_head_is_never_given_again(log: Log) -> None:
    fill(log)
    before, head = model_of(log).states, log.head
    run(log)
    assert model_of(log).states == before
    assert log.head == head + len(before)
    run(log)
    assert (model_of(log).states, log.floor) == (before, head + len(before))


def test_clients_in_the_middle_of_a_drain_end_right_whenever_they_ask(log: Log) -> None:
    """Between all steps clients read a page each, and the tree changes."""
    fill(log)
    clients = [Client() for _ in range(30)]
    for number, client in enumerate(clients):
        for _ in range(number):
            client.poll(log, 3)
    turn = [0]

    def meanwhile() -> None:
        turn[0] += 1
        live = sorted(model_of(log).states)
        if turn[0] % 3 == 0 and len(live) > 10:
            log.append([removed(log, live[turn[0] % len(live) or 1])])
        elif turn[0] % 3 == 1:
            log.append([modified(log, live[turn[0] * 5 % len(live)]), *files(1, f"new{turn[0]}")])
        for client in clients[turn[0] % 7 :: 7]:
            client.poll(log, 3)
        newcomer = Client()
        newcomer.drain(log)
        assert newcomer.states == model_of(log).states

    pace = Between(log, threading.Event(), meanwhile)
    assert squash(log, compactor(log), pace).complete
    assert turn[0] > 10
    for client in clients:
        client.drain(log)
        assert client.states == model_of(log).states
    assert any(client.resets for client in clients)
    assert max(client.resets for client in clients) == 1


def test_a_page_read_after_the_floor_rose_says_so(log: Log) -> None:
    """The request was let in before; in its page removals may be missing."""
    fill(log)
    old = Client()
    old.poll(log, 30)
    run(log)
    with closing(open_reader(log.path)) as reader:
        page = read_page(reader, old.cursor, 10)
    assert 0 < old.cursor < page.floor


class Stop(threading.Event):
    """Is set after it was asked so often."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._left = count

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize("asked", [0, 1, 2, 3, 5, 8, 12, 13, 14, 15, 16, 18, 22])
def test_stopped_anywhere_all_is_sound_and_it_goes_on(tmp_path: Path, asked: int) -> None:
    path = tmp_path / "log.db"
    log = Log(str(path), FOLDS, clock=FakeClock())
    fill(log)
    states = model_of(log).states
    squash(log, compactor(log), Between(log, Stop(asked), lambda: None))
    log.close()
    assert_sound(path)
    log = Log(str(path), FOLDS, clock=FakeClock())
    client = Client()
    client.drain(log)
    assert client.states == states == model_of(log).states
    pace = Pace(log, FakeClock(), threading.Event(), 0)
    if log.floor:
        finish(log, compactor(log), pace)
        compactor(log).run(threading.Event())
    else:
        assert squash(log, compactor(log), pace).complete
    with closing(open_reader(str(path))) as reader:
        assert fetch(reader, "select count(*) from events") == [(len(states),)]
        assert count_tombstones(reader) == 0
    log.close()
    assert_sound(path)


def test_what_is_dropped_is_in_the_archive(log: Log, tmp_path: Path) -> None:
    fill(log)
    with closing(open_reader(log.path)) as reader:
        before = list(history.read(reader, 0, log.head))
        archive = Archive(str(tmp_path / "archive"))
        result = run(log, archive)
        everything = list(whole.read(reader, archive, 0, log.head))
        assert everything[: len(before)] == before
        assert {r.event.author for r in everything[len(before) :]} == {"squash"}
        assert result.archived == len(everything)
        gone = whole.gone_directories(reader, archive)
    assert gone == {}


def test_without_its_archive_nothing_is_begun(log: Log, tmp_path: Path) -> None:
    fill(log)
    head = log.head
    with pytest.raises(ArchiveError, match="there is no"):
        run(log, Archive(str(tmp_path / "none" / "archive")))
    assert (log.head, log.call(lambda tx: tx.meta("squash"))) == (head, None)


def test_directories_that_are_gone_are_found_in_the_archive(log: Log, tmp_path: Path) -> None:

    log.append([created(root_state()), Draft(0, Created("", directory_state(b"d")))])
    tombstone = Removed("", Reason.DELETED, 1, b"d", directory_state().mode)
    log.append([Draft(2, tombstone)])
    archive = Archive(str(tmp_path / "archive"))
    run(log, archive)
    with closing(open_reader(log.path)) as reader:
        assert whole.gone_directories(reader, archive) == {2: tombstone}
        assert whole.gone_directories(reader, None) == {}


def test_who_wants_to_be_called_before_can_refuse(log: Log) -> None:
    fill(log)

    def refuse(_upto: int) -> None:
        raise OSError(28, "no space for a snapshot")

    before, head = model_of(log).last, log.head
    pace = Pace(log, FakeClock(), threading.Event(), 0)
    with pytest.raises(OSError, match="no space"):
        squash(log, Compactor(log, Options(0, None, refuse), FakeClock()), pace)
    assert (model_of(log).last, log.head, log.floor) == (before, head, 0)


def test_an_empty_log_can_be_squashed(log: Log) -> None:
    assert run(log) == Squashed(complete=True)
