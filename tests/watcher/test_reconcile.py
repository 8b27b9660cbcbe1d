"""Reconciling against a plain model: whatever was known and is seen, the result is what is seen."""

import stat
from collections import Counter
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import Content, Created, Modified, Moved, Reason, State
from projections.tree import Node
from watcher.backend import Place, Sign
from watcher.observation import Facts, Observation, new_state
from watcher.reconcile import Known, Plan, reconcile

FS = 7
ROOT = 1
NOW = 10**12
OLD, YOUNG = 5, NOW - 10**9
"""Times of birth: long ago, and a second ago."""

NOTHING = Sign(0)
HASH = b"h" * 16
NAMES = (b"a", b"b", b"c")


def facts(ino: int, **changed: int | bytes) -> Facts:
    fields: dict[str, int | bytes] = {
        "mode": stat.S_IFREG | 0o644,
        "size": 3,
        "mtime_ns": 100,
        "ctime_ns": 100,
        "fs": FS,
        "ino": ino,
        "uid": 0,
        "gid": 0,
        "nlink": 1,
    }
    return msgspec.convert(fields | changed, Facts)


def directory(ino: int) -> Facts:
    return facts(ino, mode=stat.S_IFDIR | 0o755, size=0, nlink=0)


def node(number: int, name: bytes, known: Facts, parent: int = ROOT) -> Node:
    """Return a node whose content was described, if it has any."""
    state = new_state(Place(parent, name), known)
    if state.is_file:
        state = msgspec.structs.replace(state, content=Content.DONE, hash=HASH, mime="text/plain")
    return Node(number, number, state)


def at(
    name: bytes,
    seen: Facts | None,
    signs: Sign = NOTHING,
    birth: int | None = OLD,
    parent: int = ROOT,
) -> Observation:
    return Observation(Place(parent, name), seen, signs, birth_ns=birth)


def plan_of(nodes: list[Node], *observations: Observation) -> Plan:
    """Reconcile with all that the recorder would gather."""
    by_file: dict[tuple[int, int], list[Node]] = {}
    for known in nodes:
        by_file.setdefault((known.state.fs, known.state.ino), []).append(known)
    places = {o.place for o in observations}
    parents = {n.number: n.state.parent for n in nodes}
    return reconcile(
        observations,
        Known(
            {p: n for n in nodes if (p := Place(n.state.parent, n.state.name)) in places},
            by_file,
            {o.place.directory: _above(o.place.directory, parents) for o in observations},
        ),
        now_ns=NOW,
        author="",
    )


def _above(number: int, parents: dict[int, int]) -> frozenset[int]:
    chain: set[int] = set()
    while number not in chain:
        chain.add(number)
        number = parents.get(number, number)
    return frozenset(chain)


def kinds(plan: Plan) -> list[tuple[str, int, bytes]]:
    """Return kind, node and name of each event."""
    found = []
    for draft in plan.drafts:
        assert isinstance(draft.event, Created | Modified | Moved)
        found.append((type(draft.event).__name__, draft.node, draft.event.state.name))
    return found


def lost(plan: Plan) -> dict[int, tuple[str, bool]]:
    return {gone.node.number: (gone.reason, gone.overtaken) for gone in plan.gone}


def state_after(plan: Plan) -> State:
    [draft] = plan.drafts
    assert isinstance(draft.event, Created | Modified | Moved)
    return draft.event.state


# Who is where.


def test_what_is_as_it_was_makes_no_event() -> None:
    assert plan_of([node(5, b"a", facts(1))], at(b"a", facts(1))) == Plan([], [], [], [])


def test_a_file_nobody_knows_is_new() -> None:
    assert kinds(plan_of([], at(b"a", facts(1)))) == [("Created", 0, b"a")]


def test_a_file_that_left_one_place_for_another_was_moved() -> None:
    plan = plan_of([node(5, b"a", facts(1))], at(b"a", None), at(b"b", facts(1, ctime_ns=200)))
    assert (kinds(plan), lost(plan)) == ([("Moved", 5, b"b")], {})


def test_a_file_still_in_its_old_place_has_another_link() -> None:
    plan = plan_of([node(5, b"a", facts(1))], at(b"a", facts(1)), at(b"b", facts(1)))
    assert kinds(plan) == [("Created", 0, b"b")]


def test_an_old_place_that_was_not_looked_at_says_nothing() -> None:
    assert kinds(plan_of([node(5, b"a", facts(1))], at(b"b", facts(1)))) == [("Created", 0, b"b")]


def test_an_inode_given_again_is_no_move() -> None:
    born_after = at(b"b", facts(1, ctime_ns=200, mtime_ns=200), birth=200)
    plan = plan_of([node(5, b"a", facts(1))], at(b"a", None), born_after)
    assert (kinds(plan), lost(plan)) == ([("Created", 0, b"b")], {5: (Reason.DELETED, False)})


def test_without_times_of_birth_only_the_same_bytes_count_as_moved() -> None:
    same, other = facts(1, ctime_ns=200), facts(1, ctime_ns=200, size=4)
    known = [node(5, b"a", facts(1))]
    assert kinds(plan_of(known, at(b"a", None), at(b"b", same, birth=None)))[0][0] == "Moved"
    assert kinds(plan_of(known, at(b"a", None), at(b"b", other, birth=None)))[0][0] == "Created"


def test_where_inodes_mean_nothing_the_path_decides() -> None:
    plan = plan_of(
        [node(5, b"a", facts(1, fs=0))], at(b"a", facts(2, fs=0)), at(b"b", facts(1, fs=0))
    )
    assert kinds(plan) == [("Modified", 5, b"a"), ("Created", 0, b"b")]


def test_exchanged_files_exchange_places() -> None:
    known = [node(5, b"a", facts(1)), node(6, b"b", facts(2))]
    plan = plan_of(known, at(b"a", facts(2)), at(b"b", facts(1)))
    assert sorted(kinds(plan)) == [("Moved", 5, b"b"), ("Moved", 6, b"a")]
    assert lost(plan) == {}


def test_a_file_written_anew_under_its_name_is_the_same_node() -> None:
    plan = plan_of([node(5, b"a", facts(1))], at(b"a", facts(2), birth=YOUNG))
    assert kinds(plan) == [("Modified", 5, b"a")]
    assert (state_after(plan).content, state_after(plan).hash) == (Content.PENDING, b"")


def test_a_young_file_renamed_over_an_older_one_saves_it() -> None:
    young = facts(2, ctime_ns=NOW, mtime_ns=NOW)
    known = [node(5, b"a", facts(1)), node(6, b"t", young)]
    plan = plan_of(
        known,
        at(b"t", None, Sign.MOVED_FROM),
        at(b"a", msgspec.structs.replace(young, ctime_ns=NOW + 1), Sign.MOVED_TO, birth=YOUNG),
    )
    assert (kinds(plan), lost(plan)) == ([("Modified", 5, b"a")], {6: (Reason.REPLACED, True)})
    assert (state_after(plan).content, state_after(plan).hash) == (Content.DONE, HASH)


def test_an_old_file_renamed_over_another_replaces_it() -> None:
    known = [node(5, b"a", facts(1)), node(6, b"b", facts(2))]
    plan = plan_of(known, at(b"a", None), at(b"b", facts(1)))
    assert (kinds(plan), lost(plan)) == ([("Moved", 5, b"b")], {6: (Reason.REPLACED, True)})


@pytest.mark.parametrize(("before", "after"), [(facts(1), directory(2)), (directory(1), facts(2))])
def test_another_kind_under_the_same_name_is_another_node(before: Facts, after: Facts) -> None:
    plan = plan_of([node(5, b"a", before)], at(b"a", after))
    assert (kinds(plan), lost(plan)) == ([("Created", 0, b"a")], {5: (Reason.REPLACED, True)})


def test_a_directory_is_never_moved_below_itself() -> None:
    known = [node(5, b"a", directory(1)), node(6, b"b", directory(2), parent=5)]
    plan = plan_of(known, at(b"a", None), at(b"c", directory(1), parent=6))
    assert kinds(plan) == [("Created", 0, b"c")]


@pytest.mark.parametrize(
    ("signs", "excluded", "reason"),
    [
        (Sign(0), False, Reason.DELETED),
        (Sign.DELETED, False, Reason.DELETED),
        (Sign.MOVED_FROM, False, Reason.MOVED_OUT),
        (Sign(0), True, Reason.EXCLUDED),
    ],
)
def test_a_node_that_is_nowhere_has_a_reason(signs: Sign, excluded: bool, reason: Reason) -> None:  # noqa: FBT001
    seen = at(b"a", None, signs)._replace(excluded=excluded)
    assert lost(plan_of([node(5, b"a", facts(1))], seen)) == {5: (reason, False)}


def test_a_file_that_was_renamed_to_an_excluded_name_is_excluded() -> None:
    there = at(b"b", None, Sign.MOVED_TO)._replace(excluded=True, hidden=facts(1, ctime_ns=200))
    plan = plan_of([node(5, b"a", facts(1))], at(b"a", None, Sign.MOVED_FROM), there)
    assert lost(plan) == {5: (Reason.EXCLUDED, False)}


def test_directories_are_listed_when_their_file_is_new_for_their_node() -> None:
    known = [node(5, b"a", directory(1)), node(6, b"b", directory(2)), node(7, b"d", directory(4))]
    plan = plan_of(
        known,
        at(b"a", directory(1)),
        at(b"b", directory(9)),
        at(b"c", directory(3)),
        at(b"d", None),
        at(b"e", directory(4)),
    )
    assert set(plan.directories) == {Place(ROOT, name) for name in (b"b", b"c", b"e")}


def test_new_permissions_of_a_directory_do_not_have_it_listed() -> None:
    plan = plan_of(
        [node(5, b"a", directory(1))],
        at(b"a", facts(1, mode=stat.S_IFDIR | 0o700, size=0, nlink=0)),
    )
    assert (kinds(plan), plan.directories) == ([("Modified", 5, b"a")], [])


# What is known of the bytes.

CHANGED = facts(1, ctime_ns=200)
"""Only the change time differs."""


@pytest.mark.parametrize(
    ("signs", "content"),
    [
        (Sign.ATTRIBUTES, Content.DONE),
        (Sign.WRITTEN, Content.PENDING),
        (Sign.WRITING | Sign.ATTRIBUTES, Content.PENDING),
        (Sign(0), Content.PENDING),
    ],
)
def test_bytes_are_read_again_unless_the_kernel_told_of_something_else(
    signs: Sign, content: Content
) -> None:
    state = state_after(plan_of([node(5, b"a", facts(1))], at(b"a", CHANGED, signs)))
    assert (state.content, state.hash) == (content, HASH)


@pytest.mark.parametrize(("before", "after"), [(2, 2), (1, 2), (2, 1)])
def test_a_file_that_has_or_had_other_names_is_read_again(before: int, after: int) -> None:
    """Through one that is gone before anyone looks it may have been written unheard."""
    changed = facts(1, ctime_ns=200, nlink=after)
    plan = plan_of([node(5, b"a", facts(1, nlink=before))], at(b"a", changed, Sign.ATTRIBUTES))
    assert (state_after(plan).content, state_after(plan).hash) == (Content.PENDING, HASH)


def test_a_file_is_read_again_when_it_may_have_had_another_name() -> None:
    seen = at(b"a", CHANGED, Sign.ATTRIBUTES)._replace(doubted=True)
    assert state_after(plan_of([node(5, b"a", facts(1))], seen)).content == Content.PENDING
    assert not plan_of([node(5, b"a", CHANGED)], seen).drafts


def test_a_file_is_read_again_when_another_name_of_it_went_between_the_two_looks() -> None:
    link = at(b"b", facts(1, ctime_ns=150, nlink=2), Sign.CREATED)
    first = node(5, b"a", facts(1))
    plan = plan_of([first], link, at(b"a", facts(1, ctime_ns=200), Sign.ATTRIBUTES))
    found = {d.node: d.event.state.content for d in plan.drafts if isinstance(d.event, Modified)}
    assert found == {5: Content.PENDING}


@pytest.mark.parametrize(
    ("old", "new", "content"),
    [
        (Sign.MOVED_FROM, Sign.MOVED_TO, Content.DONE),
        (Sign.MOVED_FROM | Sign.WRITTEN, Sign.MOVED_TO, Content.PENDING),
        (Sign.MOVED_FROM, Sign.MOVED_TO | Sign.WRITTEN, Content.PENDING),
        (Sign.ATTRIBUTES, Sign.MOVED_TO, Content.PENDING),  # what was told is spent already
        (Sign(0), Sign(0), Content.PENDING),  # a scan
    ],
)
def test_a_moved_file_is_read_again_unless_the_kernel_told_only_of_the_move(
    old: Sign, new: Sign, content: Content
) -> None:
    plan = plan_of([node(5, b"a", facts(1))], at(b"a", None, old), at(b"b", CHANGED, new))
    assert (state_after(plan).content, state_after(plan).hash) == (content, HASH)


def test_a_file_written_on_the_way_to_its_new_place_is_read_again() -> None:
    plan = plan_of(
        [node(5, b"a", facts(1))],
        at(b"a", None, Sign.MOVED_FROM),
        at(b"b", None, Sign.MOVED_TO | Sign.WRITTEN | Sign.MOVED_FROM),
        at(b"c", CHANGED, Sign.MOVED_TO),
    )
    assert state_after(plan).content == Content.PENDING


def test_other_bytes_leave_no_old_hash() -> None:
    state = state_after(
        plan_of([node(5, b"a", facts(1))], at(b"a", facts(1, size=4, ctime_ns=200)))
    )
    assert (state.content, state.hash, state.mime) == (Content.PENDING, b"", "")


def test_what_could_not_be_read_is_tried_again_when_anything_changes() -> None:
    failed = node(5, b"a", facts(1))
    failed = failed._replace(state=msgspec.structs.replace(failed.state, content=Content.FAILED))
    again = state_after(plan_of([failed], at(b"a", CHANGED, Sign.ATTRIBUTES)))
    assert again.content == Content.PENDING


def test_a_write_within_one_tick_of_the_clock_is_read_again() -> None:
    now = facts(1, ctime_ns=NOW - 1000)
    state = state_after(plan_of([node(5, b"a", now)], at(b"a", now, Sign.WRITTEN)))
    assert state.content == Content.PENDING


# Anything at all.


class World(NamedTuple):
    """What is known, and what is seen."""

    nodes: list[Node]
    observations: list[Observation]


DIRECTORIES = (ROOT, 2, 3)
PLACES = [Place(parent, name) for parent in DIRECTORIES for name in NAMES]
FACTS = st.builds(
    lambda ino, stamp: directory(ino) if ino > 5 else facts(ino, ctime_ns=stamp, nlink=2),
    st.integers(1, 8),
    st.sampled_from([100, 200]),
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    known = draw(st.dictionaries(st.sampled_from(PLACES), FACTS, max_size=6))
    numbers = st.permutations(range(10, 10 + len(known)))
    nodes = [
        node(number, place.name, what, place.directory)
        for number, (place, what) in zip(draw(numbers), known.items(), strict=True)
    ]
    seen = draw(st.dictionaries(st.sampled_from(PLACES), st.none() | FACTS, max_size=8))
    signs = st.sampled_from([Sign(0), Sign.MOVED_FROM, Sign.DELETED, Sign.WRITTEN, Sign.MOVED_TO])
    births = st.sampled_from([None, OLD, 150, YOUNG])
    return World(
        nodes,
        [
            Observation(place, what, draw(signs), birth_ns=draw(births))
            for place, what in seen.items()
        ],
    )


def apply(nodes: list[Node], plan: Plan) -> list[Node]:
    """Return the nodes after a plan: events, and the removal of all that is gone."""
    after = {n.number: n for n in nodes}
    for gone in plan.gone:
        del after[gone.node.number]
    for position, draft in enumerate(plan.drafts, 1000):
        assert isinstance(draft.event, Created | Modified | Moved)
        assert draft.node == 0 or draft.node in after, "an event of a node that is gone"
        after[draft.node or position] = Node(draft.node or position, position, draft.event.state)
    return list(after.values())


@given(worlds())
def test_afterwards_what_is_known_is_what_was_seen(world: World) -> None:
    plan = plan_of(world.nodes, *world.observations)
    after = apply(world.nodes, plan)
    found = {Place(n.state.parent, n.state.name): n for n in after}
    assert len(found) == len(after), "two nodes are at one place"
    for seen in world.observations:
        there = found.get(seen.place)
        assert (there is None) == (seen.facts is None)
        if there is not None and seen.facts is not None:
            assert (there.state.ino, there.state.mode) == (seen.facts.ino, seen.facts.mode)
            if there.state.is_file:
                assert there.state.ctime_ns == seen.facts.ctime_ns


@given(worlds())
def test_nobody_is_moved_or_lost_whose_place_was_not_looked_at(world: World) -> None:
    plan = plan_of(world.nodes, *world.observations)
    places = {o.place for o in world.observations}
    at_places = {n.number for n in world.nodes if Place(n.state.parent, n.state.name) in places}
    touched = [d.node for d in plan.drafts if d.node] + [g.node.number for g in plan.gone]
    assert set(touched) <= at_places
    assert max(Counter(touched).values(), default=0) <= 1, "two things happen to one node"


@given(worlds())
def test_seeing_the_same_again_makes_no_event(world: World) -> None:
    after = apply(world.nodes, plan_of(world.nodes, *world.observations))
    calm = [o._replace(signs=Sign(0)) for o in world.observations]
    again = plan_of(after, *calm)
    assert (again.drafts, again.gone) == ([], [])


@given(worlds())
def test_a_file_in_its_own_place_keeps_its_node(world: World) -> None:
    after = {n.number: n for n in apply(world.nodes, plan_of(world.nodes, *world.observations))}
    seen = {o.place: o.facts for o in world.observations}
    for known in world.nodes:
        place = Place(known.state.parent, known.state.name)
        there = seen.get(place)
        if there is not None and there.ino == known.state.ino:
            assert Place(after[known.number].state.parent, after[known.number].state.name) == place


@given(worlds())
def test_only_what_is_seen_nowhere_is_left_for_others_to_remove(world: World) -> None:
    plan = plan_of(world.nodes, *world.observations)
    seen = {o.place: o.facts for o in world.observations}
    for gone in plan.gone:
        place = Place(gone.node.state.parent, gone.node.state.name)
        if not gone.overtaken:
            assert seen[place] is None
