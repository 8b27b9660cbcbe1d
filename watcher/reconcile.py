"""Compares what was seen with what is known, and says which events that makes.

The one place where events about files are made: scans, hints and faces all end here. Pure: values
in, values out. It runs inside the log's transaction, so what is known cannot be out of date; what
was seen may be, and then the kernel has already hinted at the place again.

The question is which known node is where. A node belongs to a place when, in this order:
1. it is known there and the file is the same (or of the same kind, where inodes mean nothing);
2. its file was found there and is no longer where the node was: it was moved;
3. it is known there and its own file is nowhere to be seen: the path's node was written anew, as
   editors do. This also wins over 2 when the file that was moved in had only just been made.
"""

import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from eventlog.events import Content, Created, Modified, Moved, Reason, State
from eventlog.log import Draft
from projections.tree import Node
from watcher.backend import CONTENT, Place, Sign
from watcher.observation import Facts, Observation, new_state, same_bytes, unchanged

YOUNG_NS = 60 * 10**9
"""A file younger than this that is renamed over another is an editor saving that other."""

RACY_NS = 10**9
"""Bytes may be written within one tick of the filesystem's clock, leaving the times as they are."""

File = tuple[int, int]
"""Filesystem identity and inode number."""


class Known(NamedTuple):
    """What the tree says, as far as a batch of observations touches it.

    Attributes:
        by_place: the nodes at the observed places.
        by_file: the nodes of the observed files.
        above: for directories that hold an observed directory: their ancestors and themselves.
    """

    by_place: Mapping[Place, Node]
    by_file: Mapping[File, list[Node]]
    above: Mapping[int, frozenset[int]]


class Gone(NamedTuple):
    """A node that is no longer at its place and was seen nowhere else.

    Attributes:
        node: the node.
        reason: what its tombstone will say.
        overtaken: another node has its place already: it must be removed at once.
    """

    node: Node
    reason: Reason
    overtaken: bool


class Plan(NamedTuple):
    """What a batch of observations means.

    Attributes:
        drafts: events to append.
        places: for each draft the place it is about.
        gone: nodes to be removed, by whoever knows whether they may turn up elsewhere yet.
        directories: places of directories whose file is new for their node: to be listed.
    """

    drafts: list[Draft]
    places: list[Place]
    gone: list[Gone]
    directories: list[Place]


def reconcile(
    observations: Iterable[Observation], known: Known, *, now_ns: int, author: str
) -> Plan:
    """Say which events a batch of observations makes.

    Args:
        observations: each place at most once.
        known: what the tree says of these places and files.
        now_ns: the time of day, nanoseconds since 1970.
        author: who did it; `eventlog.events.DISK` when nobody said.

    Returns:
        The plan.
    """
    if not known.by_place and not known.by_file:
        return _all_new([(o.place, o.facts) for o in observations if o.facts is not None], author)
    return _Matching(observations, known, now_ns, author).plan()


def _all_new(found: list[tuple[Place, Facts]], author: str) -> Plan:
    """Say the same where nothing is known, as in a first scan, in a fraction of the time."""
    return Plan(
        drafts=[Draft(0, Created(author, new_state(place, facts))) for place, facts in found],
        places=[place for place, _ in found],
        gone=[],
        directories=[place for place, facts in found if facts.is_directory],
    )


class _Matching:
    """The assignment of nodes to places, in the making."""

    def __init__(
        self, observations: Iterable[Observation], known: Known, now_ns: int, author: str
    ) -> None:
        self._seen = {o.place: o for o in observations}
        self._files = Counter(_file(o.facts) for o in self._seen.values() if o.facts is not None)
        self._hidden = {_file(o.hidden) for o in self._seen.values() if o.hidden and o.hidden.fs}
        self._known = known
        self._now_ns = now_ns
        self._author = author
        self._settled: set[int] = set()
        self._plan = Plan([], [], [], [])

    def plan(self) -> Plan:
        rest = [(o, o.facts) for o in self._seen.values() if o.facts is not None]
        for step in (self._stays, self._came, self._written_anew, self._is_new):
            rest = [(o, facts) for o, facts in rest if not step(o, facts)]
        for observation in self._seen.values():
            self._left(observation)
        return self._plan

    def _stays(self, seen: Observation, facts: Facts) -> bool:
        node = self._known.by_place.get(seen.place)
        if node is None or not _same_kind(node.state, facts):
            return False
        if _file(node.state) != _file(facts):
            return False
        self._settled.add(node.number)
        self._update(node, seen, facts)
        return True

    def _came(self, seen: Observation, facts: Facts) -> bool:
        node = self._mover(seen, facts)
        if node is None:
            return False
        self._settled.add(node.number)
        seen = self._told(seen, node)
        held = self._holder(seen.place)
        if held is not None and self._is_save(held, node, seen, facts):
            self._settled.add(held.number)
            self._update(held, seen, facts, heir_of=node.state)
            self._lose(node, Reason.REPLACED, overtaken=True)
            return True
        self._emit(
            Draft(
                node.number,
                Moved(
                    self._author,
                    self._changed(node.state, seen, facts),
                    node.state.parent,
                    node.state.name,
                ),
            ),
            seen.place,
            facts,
        )
        return True

    def _told(self, seen: Observation, moved: Node) -> Observation:
        """Add what the kernel said of the places that a file came through.

        A file may have been written under an earlier name, with its times set back. Only who heard
        of the rename has also heard of every write before it.
        """
        before = self._seen[Place(moved.state.parent, moved.state.name)]
        signs = seen.signs | before.signs
        between = (o for o in self._seen.values() if o.place not in self._known.by_place)
        if Sign.MOVED_FROM not in before.signs or any(
            Sign.MOVED_FROM in o.signs and o.signs & CONTENT for o in between
        ):
            signs |= Sign.WRITTEN
        return seen._replace(signs=signs)

    def _written_anew(self, seen: Observation, facts: Facts) -> bool:
        node = self._holder(seen.place)
        if node is None or not _same_kind(node.state, facts):
            return False
        self._settled.add(node.number)
        self._update(node, seen, facts)
        return True

    def _is_new(self, seen: Observation, facts: Facts) -> bool:
        self._emit(Draft(0, Created(self._author, new_state(seen.place, facts))), seen.place, facts)
        return True

    def _left(self, seen: Observation) -> None:
        node = self._holder(seen.place)
        if node is None:
            return
        if seen.facts is not None:
            reason = Reason.REPLACED
        elif seen.excluded or _file(node.state) in self._hidden:
            reason = Reason.EXCLUDED
        elif Sign.MOVED_FROM in seen.signs:
            reason = Reason.MOVED_OUT
        else:
            reason = Reason.DELETED
        self._lose(node, reason, overtaken=seen.facts is not None)

    def _holder(self, place: Place) -> Node | None:
        """Return the node known at a place that was not found to be elsewhere."""
        node = self._known.by_place.get(place)
        return None if node is None or node.number in self._settled else node

    def _mover(self, seen: Observation, facts: Facts) -> Node | None:
        """Return the node whose file was found here and no longer is where the node was."""
        for node in self._known.by_file.get(_file(facts), ()):
            place = Place(node.state.parent, node.state.name)
            then = self._seen.get(place)
            if (
                node.number not in self._settled
                and place != seen.place
                and then is not None
                and (then.facts is None or _file(then.facts) != _file(facts))
                and _same_file(node.state, seen, facts)
                and node.number not in self._known.above.get(seen.place.directory, ())
            ):
                return node
        return None

    def _is_save(self, held: Node, moved: Node, seen: Observation, facts: Facts) -> bool:
        """Say whether a rename over a file is an editor saving it through a temporary file."""
        young = seen.birth_ns is not None and self._now_ns - seen.birth_ns < YOUNG_NS
        return (
            young
            and stat.S_ISREG(facts.mode)
            and held.state.is_file
            and moved.number > held.number
            and _file(held.state) not in self._files
        )

    def _update(
        self, node: Node, seen: Observation, facts: Facts, heir_of: State | None = None
    ) -> None:
        state = self._changed(node.state, seen, facts, heir_of)
        if state != node.state:
            self._emit(
                Draft(node.number, Modified(self._author, state)),
                seen.place,
                facts,
                listed=_file(node.state) == _file(facts),
            )

    def _changed(
        self, state: State, seen: Observation, facts: Facts, heir_of: State | None = None
    ) -> State:
        """Return the state of a node after a look."""
        place = seen.place
        if stat.S_ISDIR(facts.mode):
            if unchanged(state, facts) and place == (state.parent, state.name):
                return state
            return new_state(place, facts, state.target)
        fresh = new_state(place, facts)
        if not stat.S_ISREG(facts.mode):
            return fresh
        content = self._content_after(state, seen, facts)
        source = state
        if content is None and heir_of is not None:
            source, content = heir_of, self._content_after(heir_of, seen, facts)
        if content is None:
            return fresh
        return msgspec.structs.replace(
            fresh,
            content=content,
            hash=source.hash,
            mime=source.mime,
            width=source.width,
            height=source.height,
            duration_ms=source.duration_ms,
        )

    def _content_after(self, state: State, seen: Observation, facts: Facts) -> int | None:
        """Say how far what is known of the bytes can be kept; None: not at all.

        The inode's change time moves with a rename, a link or a chmod as well as with a write that
        sets the modification time back. Where the kernel told which, it is believed; otherwise the
        bytes are read again, and until then clients keep the hash.
        """
        if not same_bytes(state, facts) or _file(state) != _file(facts):
            return None
        written = bool(seen.signs & CONTENT)
        if state.ctime_ns == facts.ctime_ns:
            racy = written and self._now_ns - facts.ctime_ns < RACY_NS
            return Content.PENDING if racy else state.content
        # Written under another name, perhaps unheard.
        shared = max(state.nlink, facts.nlink, self._names(facts)) > 1
        believed = seen.signs and not (written or shared or seen.doubted)
        return state.content if believed and state.content != Content.FAILED else Content.PENDING

    def _names(self, facts: Facts) -> int:
        """Return how many names a file has had of late: more than it has, when one is gone."""
        file = _file(facts)
        known = self._known.by_file.get(file, ())
        return max(self._files[file], len(known)) if facts.fs else 1

    def _emit(self, draft: Draft, place: Place, facts: Facts, *, listed: bool = False) -> None:
        self._plan.drafts.append(draft)
        self._plan.places.append(place)
        if facts.is_directory and not listed:
            self._plan.directories.append(place)

    def _lose(self, node: Node, reason: Reason, *, overtaken: bool) -> None:
        self._settled.add(node.number)
        self._plan.gone.append(Gone(node, reason, overtaken))


def _file(of: State | Facts) -> File:
    """Return the identity of a file; where inodes mean nothing, all files look the same."""
    return (of.fs, of.ino) if of.fs else (0, 0)


def _same_kind(state: State, facts: Facts) -> bool:
    return stat.S_IFMT(state.mode) == stat.S_IFMT(facts.mode)


def _same_file(state: State, seen: Observation, facts: Facts) -> bool:
    """Say whether an inode found in a new place is the known file, or its number was given again.

    A file that was made after the known one was last changed cannot be that one. Without a time
    of birth, only what is certain counts.
    """
    if not facts.fs or not _same_kind(state, facts):
        return False
    if seen.birth_ns is not None:
        return seen.birth_ns <= state.ctime_ns
    return stat.S_ISDIR(facts.mode) or same_bytes(state, facts)
