"""Clients of a filtered feed end with exactly the nodes that match, whenever and however they ask.

A random history runs while clients page through it; it is compacted in between, and what a moved
directory brings with it is read later than the page that names it.
"""

import stat
from collections.abc import Callable, Iterable
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from eventlog import codec
from eventlog.events import Created, Event, Modified, Moved, Reason, Removed, State
from projections import filtered
from projections.filter import KINDS, LEFT, Filter
from projections.filtered import FilteredPage, is_known, read_below, read_page
from tests.model import Model
from tests.projections.memory import empty, store
from tests.strategies import SHORT_NAMES, STEPS, History, happen

MIMES = ("", "image/png", "video/mp4")

FILTERS = st.builds(
    Filter,
    root=st.sampled_from([None, None, *SHORT_NAMES[:2]]),
    under=st.sampled_from([None, 3, 3, 4, 5, 6, 12]),
    mimes=st.sampled_from([(), (), (), ("image/",), ("video/", "x")]),
    kinds=st.sampled_from([(), (), (), ("file",), ("directory",)]),
)


class TypedHistory(History):
    """A history in which files have MIME types that change."""

    def put(self, node: int, event: Event) -> None:
        if not isinstance(event, Removed) and not event.state.is_directory:
            state = msgspec.structs.replace(event.state, mime=MIMES[event.state.size % len(MIMES)])
            event = msgspec.structs.replace(event, state=state)
        super().put(node, event)


def matching(model: Model, wanted: Filter) -> dict[int, State]:
    """Return the nodes that match, the plain way."""
    return {n: s for n, s in model.states.items() if is_match(model, wanted, n, s)}


def is_match(model: Model, wanted: Filter, number: int, state: State) -> bool:
    kind = KINDS[state.mode & 0o170000]
    if wanted.kinds and kind not in wanted.kinds:
        return False
    if wanted.mimes and not any(state.mime.startswith(mime) for mime in wanted.mimes):
        return False
    way = upwards(model, number)
    if wanted.under and wanted.under not in way:
        return False
    top = model.states.get(way[-1])
    is_rooted = top is not None and top.parent == 0
    return wanted.root is None or (is_rooted and model.states[way[-1]].name == wanted.root)


def upwards(model: Model, number: int) -> list[int]:
    way: list[int] = []
    while number in model.states and number not in way:
        way.append(number)
        number = model.states[number].parent
    return way


def directory(parent: int, name: bytes, **changed: object) -> State:
    return leaf(parent, name, mode=stat.S_IFDIR | 0o755, **changed)


def leaf(parent: int, name: bytes, **changed: object) -> State:
    fields: dict[str, Any] = {
        "parent": parent, "name": name, "mode": stat.S_IFREG | 0o644, "size": 1, "mtime_ns": 0,
        "ctime_ns": 0, "fs": 1, "ino": 1, "uid": 0, "gid": 0, "nlink": 1,
    }  # fmt: skip
    return State(**(fields | changed))


class Client:
    """Someone who knows only what a filtered feed said."""

    def __init__(self, wanted: Filter, *, sends_since: bool) -> None:
        self.wanted = wanted
        self.sends_since = sends_since
        self.cursor = self.since = 0
        self.states: dict[int, State] = {}
        self.told = 0
        self.pointless = 0

    def poll(
        self, connection: apsw.Connection, limit: int, meanwhile: Callable[[], None] = lambda: None
    ) -> FilteredPage:
        """Fetch a page and fold it, with whatever happens before its last parts are read."""
        since = self.since if self.sends_since else 0
        page = read_page(connection, self.wanted, self.cursor, since, limit)
        assert page.cursor > self.cursor or not page.has_more
        self._fold(page.rows)
        numbers = list(page.below)
        for start in range(0, len(numbers), 2):
            meanwhile()
            part = numbers[start : start + 2]
            self._fold(read_below(connection, self.wanted, self.cursor, since, part))
        self.cursor, self.since = page.cursor, page.since
        return page

    def drain(self, connection: apsw.Connection) -> None:
        while self.poll(connection, 3).has_more:
            pass

    def _fold(self, rows: Iterable[tuple[int, int, bytes]]) -> None:
        for position, number, record in rows:
            self.told += 1
            found = codec.decode(record, position)
            if isinstance(found, Removed):
                self.pointless += self.states.pop(number, None) is None
            else:
                self.states[number] = found.state


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
    ),
    max_size=60,
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have bounds that small histories reach."""
    monkeypatch.setattr(filtered, "SCANNED_MAX", 3)
    monkeypatch.setattr(filtered, "INLINE_MAX", 1)
    monkeypatch.setattr(filtered, "STATES_MAX", 5)


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
        else:
            _, who, limit, step = action
            clients[who].poll(world.connection, limit, lambda step=step: world.happen(step))
    for client in clients:
        client.drain(world.connection)
        expected = matching(world.model, client.wanted)
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
    assert set(inside.states) == set(matching(world.model, inside.wanted))
    assert {6, 13} <= set(outside.states)
    assert inside.pointless == 0


def planted(*filters: Filter, sends_since: bool = True) -> tuple[World, list[Client]]:
    """Return the planted world, and clients that have all that matches."""
    world = World()
    world.plant()
    clients = [Client(wanted, sends_since=sends_since) for wanted in filters]
    for client in clients:
        client.drain(world.connection)
        assert client.states == matching(world.model, client.wanted)
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
        assert client.states == matching(world.model, client.wanted)
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
    assert client.states == matching(world.model, client.wanted)
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
    assert client.states == matching(world.model, client.wanted)
