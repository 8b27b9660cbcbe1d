"""Clients of a filtered feed end with exactly the nodes that match, whenever and however they ask.

A random history runs while clients page through it; it is compacted in between, and what a moved
directory brings with it is read later than the page that names it.
"""

import stat
from typing import Any

import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from eventlog import codec
from eventlog.events import Created, Event, Modified, Moved, Reason, Removed, State
from projections import bootstrap, filtered
from projections.filter import LEFT, Filter
from projections.filtered import is_known
from tests.model import Model
from tests.projections.filtering import FILTERS, Client, TypedHistory, matching
from tests.projections.memory import empty, store
from tests.strategies import SHORT_NAMES, STEPS, happen


def directory(parent: int, name: bytes, **changed: object) -> State:
    return leaf(parent, name, mode=stat.S_IFDIR | 0o755, **changed)


def leaf(parent: int, name: bytes, **changed: object) -> State:
    fields: dict[str, Any] = {
        "parent": parent, "name": name, "mode": stat.S_IFREG | 0o644, "size": 1, "mtime_ns": 0,
        "ctime_ns": 0, "fs": 1, "ino": 1, "uid": 0, "gid": 0, "nlink": 1,
    }  # fmt: skip
    return State(**(fields | changed))


class World:
    """A log in memory and what should be known of it."""

    def __init__(self) -> None:
        self.connection = empty()
        self.history = TypedHistory()
        self.model = Model()

    def plant(self) -> None:
        """Make two roots, with a few directories in each, and a file in every directory."""
        for number, name in enumerate(SHORT_NAMES[:2]):
            self.put(0, Created("", directory(0, name, target=b"/%d" % number)))
        for parent in (1, 1, 2, 3, 3):
            self.put(0, Created("", directory(parent, b"d")))
        for parent in range(1, 8):
            self.put(0, Created("", leaf(parent, b"f")))

    def move(self, one: int, two: int) -> None:
        """Move a directory into another, if there are two; it may be below itself then."""
        live = self.history.live
        movable = [n for n in sorted(self.history.directories()) if live[n].parent]
        if not movable:
            return
        moved = movable[one % len(movable)]
        old = live[moved]
        targets = [n for n in sorted(self.history.directories()) if n != moved]
        to = targets[two % len(targets)]
        new = msgspec.structs.replace(old, parent=to)
        self.put(moved, Moved("", new, old.parent, old.name))

    def happen(self, *steps: bytes) -> None:
        before = len(self.history.records)
        for step in steps:
            happen(self.history, step)
        self.take(before)

    def put(self, node: int, found: Event) -> int:
        before = len(self.history.records)
        self.history.put(node, found)
        self.take(before)
        return len(self.history.records)

    def take(self, before: int) -> None:
        new = self.history.records[before:]
        store(self.connection, new)
        for record in new:
            self.model.apply(record)

    def compact(self, upto: int) -> None:
        self.connection.execute(
            "delete from events where position in (select old.position from events old"
            " where exists (select 1 from events new where new.node = old.node"
            " and new.position > old.position and new.position <= ?))",
            (upto,),
        )


ACTIONS = st.lists(
    st.one_of(
        STEPS.map(lambda step: ("happen", step)),
        st.tuples(st.just("move"), st.integers(0, 20), st.integers(0, 20)),
        st.tuples(st.just("poll"), st.integers(0, 3), st.integers(1, 4), STEPS),
        st.tuples(st.just("compact"), st.integers(0, 40)),
        st.tuples(st.just("begin"), st.integers(0, 3), STEPS, st.integers(0, 60)),
    ),
    max_size=60,
)


def begin(world: World, client: Client, step: bytes, upto: int) -> None:
    """Have a client begin with a snapshot while something happens and the log is compacted."""

    def meanwhile() -> None:
        world.happen(step)
        world.move(step[0], step[1])
        world.compact(upto)

    client.begin_with_snapshot(world.connection, meanwhile)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bounds that small histories reach."""
    monkeypatch.setattr(filtered, "SCANNED_MAX", 3)
    monkeypatch.setattr(filtered, "INLINE_MAX", 1)
    monkeypatch.setattr(filtered, "STATES_MAX", 5)
    monkeypatch.setattr(bootstrap, "PAGE_ROWS", 4)


@pytest.mark.usefixtures("small")
@given(
    filters=st.lists(FILTERS, min_size=2, max_size=2),
    actions=ACTIONS,
)
def test_whoever_folds_the_filtered_feed_ends_with_what_matches(
    filters: list[Filter], actions: list[tuple[Any, ...]]
) -> None:
    world = World()
    world.plant()
    clients = [Client(wanted, sends_since=flag) for wanted in filters for flag in (True, False)]
    for action in actions:
        if action[0] == "happen":
            world.happen(action[1])
        elif action[0] == "move":
            world.move(*action[1:])
        elif action[0] == "compact":
            world.compact(action[1])
        elif action[0] == "begin":
            begin(world, clients[action[1]], *action[2:])
        else:
            _, who, limit, step = action
            clients[who].poll(world.connection, limit, lambda step=step: world.happen(step))
    for client in clients:
        client.drain(world.connection)
        expected = matching(world.model.states, client.wanted)
        event("some match" if expected else "none matches")
        assert client.states == expected, client.wanted


def test_a_directory_brings_with_it_what_is_below() -> None:
    world = World()
    world.plant()
    inside, outside = (Client(Filter(under=n), sends_since=True) for n in (3, 4))
    for client in (inside, outside):
        client.drain(world.connection)
    world.put(6, Moved("", directory(4, b"d"), 3, b"d"))
    inside.drain(world.connection)
    outside.drain(world.connection)
    assert set(inside.states) == set(matching(world.model.states, inside.wanted))
    assert {6, 13} <= set(outside.states)
    assert inside.pointless == 0


def planted(*filters: Filter, sends_since: bool = True) -> tuple[World, list[Client]]:
    """Return the planted world, and clients that have all that matches."""
    world = World()
    world.plant()
    clients = [Client(wanted, sends_since=sends_since) for wanted in filters]
    for client in clients:
        client.drain(world.connection)
        assert client.states == matching(world.model.states, client.wanted)
        client.told = 0
    return world, clients


@pytest.mark.parametrize("sends_since", [True, False])
def test_what_never_was_inside_is_not_told(*, sends_since: bool) -> None:
    world, (client,) = planted(Filter(under=3), sends_since=sends_since)
    created = world.put(0, Created("", leaf(5, b"new")))
    world.put(created, Modified("", leaf(5, b"new", size=7)))
    world.put(created, Removed("", Reason.DELETED, 5, b"new", stat.S_IFREG))
    world.put(4, Moved("", directory(2, b"d"), 1, b"d"))
    client.drain(world.connection)
    assert client.told == 0
    assert client.cursor == len(world.history.records)


def test_a_move_within_the_place_is_one_change() -> None:
    world, (client,) = planted(Filter(root=b"a"))
    world.put(6, Moved("", directory(4, b"d"), 3, b"d"))
    client.drain(world.connection)
    assert client.told == 1


def test_the_wanted_directory_itself_is_brought_into_the_wanted_root() -> None:
    world, (client,) = planted(Filter(root=b"b", under=6))
    assert not client.states
    world.put(3, Moved("", directory(2, b"d"), 1, b"d"))
    client.drain(world.connection)
    assert set(client.states) == {6, 13}
    world.put(3, Moved("", directory(1, b"d"), 2, b"d"))
    client.drain(world.connection)
    assert not client.states


def test_what_leaves_is_a_removal_with_its_reason() -> None:
    world, (client,) = planted(Filter(mimes=("",), kinds=("file",), under=3))
    position = world.put(10, Moved("", leaf(2, b"other"), 3, b"f"))
    page = client.poll(world.connection, 9)
    (row,) = page.rows
    assert row[:2] == (position, 10)
    assert codec.decode(row[2], 0) == Removed("", LEFT, 2, b"other", stat.S_IFREG | 0o644)


def test_what_entered_with_the_last_event_before_the_cursor_is_told() -> None:
    world, (inside, outside) = planted(Filter(under=3), Filter(under=4))
    last = world.put(13, Modified("", leaf(6, b"f", size=3)))
    for client in (inside, outside):
        client.drain(world.connection)
        assert client.cursor == last
    world.put(6, Moved("", directory(4, b"d"), 3, b"d"))
    for client in (inside, outside):
        client.drain(world.connection)
        assert client.states == matching(world.model.states, client.wanted)
    assert 13 in outside.states


def test_a_node_with_many_states_may_have_matched_in_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filtered, "STATES_MAX", 3)
    world, (client,) = planted(Filter(mimes=("image/",)))
    world.put(10, Modified("", leaf(3, b"f", size=3)))
    client.drain(world.connection)
    since = client.since
    for size in (3, 3, 3, 1):
        world.put(10, Modified("", leaf(3, b"f", size=size)))
    client.drain(world.connection)
    assert 10 in client.states
    client.since = since
    world.put(10, Modified("", leaf(3, b"f", size=3)))
    client.drain(world.connection)
    assert client.states == matching(world.model.states, client.wanted)
    assert 10 not in client.states


def test_directories_in_a_circle_are_nowhere_until_they_are_out_of_it() -> None:
    world, (client,) = planted(Filter(root=b"a"))
    before = set(client.states)
    world.put(3, Moved("", directory(6, b"d"), 1, b"d"))
    client.drain(world.connection)
    assert before - set(client.states) == {3, 6, 7, 10, 13, 14}
    world.put(3, Moved("", directory(1, b"d"), 6, b"d"))
    client.drain(world.connection)
    assert set(client.states) == before


def test_a_long_stretch_of_other_changes_comes_as_empty_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filtered, "SCANNED_MAX", 10)
    world, (client,) = planted(Filter(under=3))
    for number in range(25):
        world.put(0, Created("", leaf(5, b"%d" % number)))
    pages = [client.poll(world.connection, 100) for _ in range(3)]
    assert [(len(page.rows), page.has_more) for page in pages] == [
        (0, True), (0, True), (0, False)
    ]  # fmt: skip
    assert pages[0].cursor < pages[1].cursor < pages[2].cursor == len(world.history.records)


def test_what_is_not_of_the_log_is_not_known() -> None:
    world, _ = planted()
    assert is_known(world.connection, Filter(root=b"a", under=7))
    assert is_known(world.connection, Filter(under=0))
    assert not is_known(world.connection, Filter(root=b"nowhere"))
    assert not is_known(world.connection, Filter(under=99))
    world.history.remove(7, Reason.DELETED)
    world.take(14)
    assert is_known(world.connection, Filter(under=7))


def test_a_since_of_another_log_counts_as_none() -> None:
    world, (client,) = planted(Filter(under=3))
    world.put(6, Moved("", directory(2, b"d"), 3, b"d"))
    client.since = 10**9
    client.drain(world.connection)
    assert client.states == matching(world.model.states, client.wanted)
