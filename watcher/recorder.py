"""Records observations: reconciles them with the tree inside a transaction and appends the events.

With the describer, the only code that appends events about files.
"""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import Future  # noqa: TC003 - as in eventlog.log
from functools import partial
from itertools import islice
from typing import NamedTuple

from msgspec import Raw

from eventlog import codec
from eventlog.arrivals import Arrivals
from eventlog.events import SUPER_ROOT, Created, Modified, Moved, Reason, Removed, State
from eventlog.log import Draft, Log, Transaction
from projections.tree import Node, Tree
from watcher.backend import Place
from watcher.observation import Facts, Observation, new_state, unchanged
from watcher.reconcile import Gone, Known, reconcile
from watcher.walk import Found, decode_found

BURIED_AT_ONCE = 2_000
"""Tombstones in one transaction, so that removing a large directory never holds the writer long."""


class Recorded(NamedTuple):
    """What recording a batch did.

    Attributes:
        events: how many were appended.
        gone: nodes seen nowhere any more, whose removal is the caller's to decide.
        directories: number and place of the directories that must be listed.
        numbers: node numbers of the places that an event was about.
        unmounted: numbers of directories on which another filesystem is mounted than before, or
            none: that may come back, so nothing below them is touched.
        buried: nodes that were removed, because others took their places.
        left: places that nodes were moved away from.
    """

    events: int
    gone: list[Gone]
    directories: list[tuple[int, Place]]
    numbers: dict[Place, int]
    unmounted: frozenset[int]
    buried: list[Node]
    left: list[Place]


class Stored(NamedTuple):
    """What of a walker's finds was stored.

    Attributes:
        events: how many were appended.
        numbers: of the directories that were listed.
        keys: what events name each of them by.
    """

    events: int
    numbers: list[int]
    keys: list[bytes]


class Recorder:
    """Appends what observations mean.

    Args:
        log: the log.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    def begin(self, states: Sequence[State], author: str) -> "Future[int]":
        """Begin to record what is at places where nothing is known, nor was moved to from others.

        Args:
            states: the first states of new nodes.
            author: who did it.

        Returns:
            The number of the first node, when it is durable; the others follow without gaps.
        """
        return self._log.submit(
            lambda tx: tx.append([Draft(0, Created(author, state)) for state in states])
        )

    def begin_found(self, found: Sequence[Raw], numbers: dict[int, int]) -> "Future[Stored]":
        """Begin to record what walkers have found, as `begin`.

        Args:
            found: `watcher.walk.Found` of several tasks, encoded.
            numbers: of directories that were found and not listed yet, by what stands for them;
                the writer keeps it, from one batch to the next.

        Returns:
            What was stored, when it is durable.
        """
        return self._log.submit(lambda tx: _store_all(tx, found, numbers))

    def record(
        self, observations: Sequence[Observation], author: str, *, accept: bool = False
    ) -> Recorded:
        """Record a batch and wait until it is durable.

        Args:
            observations: each place at most once.
            author: who did it.
            accept: believe also that another filesystem is mounted than before.

        Returns:
            What was done.

        Raises:
            LogError: it could not be stored; nothing was.
        """
        return self._log.call(lambda tx: _record(tx, observations, author, accept=accept))

    def attach(self, name: bytes, path: bytes, facts: Facts, author: str) -> int:
        """Record that a root is there, under a name, at a path.

        Returns:
            Its node number.
        """
        return self._log.call(lambda tx: _attach(tx, name, path, facts, author))

    def remove(self, gone: Gone, author: str) -> list[Node]:
        """Record that a node and all below it are gone, the deepest first.

        A node that was moved or removed meanwhile is left alone.

        Returns:
            The nodes that were removed.
        """
        buried, doomed = self._log.call(partial(_bury_few, gone=gone, author=author))
        while doomed:
            # The last ones go with whatever came below meanwhile, or that would be left an orphan.
            for start in range(0, len(doomed) - BURIED_AT_ONCE, BURIED_AT_ONCE):
                batch = doomed[start : start + BURIED_AT_ONCE]
                bury = partial(_bury_below, gone=gone, numbers=batch, author=author)
                buried += self._log.call(bury)
            last, doomed = self._log.call(partial(_bury_few, gone=gone, author=author))
            buried += last
        return buried

    def remove_many(self, gone: Sequence[Gone], author: str) -> list[Node]:
        """Record that nodes and all below them are gone, as `remove`, as many at once as may be.

        Returns:
            The nodes that were removed.
        """
        buried: list[Node] = []
        start = 0
        while start < len(gone):
            bury = partial(_bury_together, gone=gone[start:], author=author)
            nodes, count = self._log.call(bury)
            # A directory with too much below it is buried in steps.
            buried += nodes if count else self.remove(gone[start], author)
            start += count or 1
        return buried

    def remove_root(self, node: Node, author: str) -> list[Node]:
        """Record that a root is no longer served; returns the nodes that were removed."""
        return self.remove(Gone(node, Reason.ROOT_REMOVED, overtaken=False), author)


def _store_all(transaction: Transaction, found: Sequence[Raw], numbers: dict[int, int]) -> Stored:
    parts = [_store(transaction, decode_found(raw), numbers) for raw in found]
    return Stored(
        events=sum(part.events for part in parts),
        numbers=[number for part in parts for number in part.numbers],
        keys=[key for part in parts for key in part.keys],
    )


def _store(transaction: Transaction, found: Found, numbers: dict[int, int]) -> Stored:
    first = transaction.position + 1
    for stand_in, index in found.below.items():
        numbers[stand_in] = first + index
    directories = [number if number > 0 else numbers.pop(number) for number in found.directories]
    parents: list[int] = []
    records: list[bytes] = []
    rests = iter(found.rests)
    for number, count in zip(directories, found.counts, strict=True):
        parents += [number] * count
        records += codec.created(number, islice(rests, count))
    transaction.append_new(
        Arrivals(parents, found.names, found.filesystems, found.inodes, found.contents, records)
    )
    return Stored(len(records), directories, found.keys)


def _record(
    transaction: Transaction, observations: Sequence[Observation], author: str, *, accept: bool
) -> Recorded:
    tree = Tree(transaction.connection)
    observations = _in_live_directories(tree, observations)
    known = gather(tree, observations)
    unmounted = {} if accept else _unmounted(tree, observations, known)
    plan = reconcile(
        [o for o in observations if o.place not in unmounted],
        known,
        now_ns=transaction.time_us * 1000,
        author=author,
    )
    first = transaction.append(plan.drafts)
    # After the moves: what was moved out of a directory must not be buried with it.
    buried: list[Node] = []
    for gone in plan.gone:
        if gone.overtaken:
            buried += _bury(transaction, _doomed(tree, gone), gone.reason, author)
    numbers = {
        place: draft.node or position
        for position, (draft, place) in enumerate(zip(plan.drafts, plan.places, strict=True), first)
    }
    return Recorded(
        events=len(plan.drafts) + len(buried),
        gone=[gone for gone in plan.gone if not gone.overtaken],
        directories=[(numbers[place], place) for place in plan.directories],
        numbers=numbers,
        unmounted=frozenset(unmounted.values()),
        buried=buried,
        left=[
            Place(event.from_parent, event.from_name)
            for _, event in plan.drafts
            if isinstance(event, Moved)
        ],
    )


def _in_live_directories(tree: Tree, observations: Sequence[Observation]) -> list[Observation]:
    """Leave out looks into directories that were removed since, perhaps by another root.

    Whatever is in them is found under the number that the directory gets where it is now.
    """
    directories = {o.place.directory for o in observations}
    live = {number for number in directories if tree.node(number) is not None}
    return [o for o in observations if o.place.directory in live]


def _unmounted(tree: Tree, observations: Iterable[Observation], known: Known) -> dict[Place, int]:
    """Return the directories on which something was mounted or unmounted, over known contents.

    What shows now is not what was recorded, and that may come back. So nothing below is touched.
    """
    found: dict[Place, int] = {}
    for place, facts in ((o.place, o.facts) for o in observations):
        node = known.by_place.get(place)
        if node is None or facts is None or node.state.fs == facts.fs:
            continue
        if facts.is_directory and node.state.is_directory and tree.has_children(node.number):
            found[place] = node.number
    return found


def gather(tree: Tree, observations: Iterable[Observation]) -> Known:
    """Ask the tree for all that reconciling these observations needs."""
    observations = list(observations)
    at = tree.children_at(o.place for o in observations)
    by_place = {o.place: at[o.place] for o in observations if o.place in at}
    news = [
        (o.place, o.facts)
        for o in observations
        if o.facts is not None
        and o.facts.fs
        and not (o.place in at and unchanged(at[o.place].state, o.facts))
    ]
    of = tree.by_files((facts.fs, facts.ino) for _, facts in news)
    by_file = {file: nodes for file, nodes in of.items() if nodes}
    above: dict[int, frozenset[int]] = {}
    for place, facts in news:
        if facts.is_directory and (facts.fs, facts.ino) in by_file and place.directory not in above:
            above[place.directory] = frozenset(tree.ancestors(place.directory))
    return Known(by_place, by_file, above)


def _attach(transaction: Transaction, name: bytes, path: bytes, facts: Facts, author: str) -> int:
    tree = Tree(transaction.connection)
    place = Place(SUPER_ROOT, name)
    state = new_state(place, facts, target=path)
    node = tree.child(*place)
    if node is None:
        return transaction.append([Draft(0, Created(author, state))])
    if not unchanged(node.state, facts) or node.state.target != path:
        transaction.append([Draft(node.number, Modified(author, state))])
    return node.number


def _doomed(tree: Tree, gone: Gone) -> list[int]:
    """Return what to bury: the node and all below it, if it still is where it was."""
    if not _is_where_it_was(tree, gone):
        return []
    number = gone.node.number
    below = tree.descendants(number) if gone.node.state.is_directory else []
    return [*below, number]


def _is_where_it_was(tree: Tree, gone: Gone) -> bool:
    node, before = tree.node(gone.node.number), gone.node.state
    return node is not None and (node.state.parent, node.state.name) == (before.parent, before.name)


def _bury_few(transaction: Transaction, gone: Gone, author: str) -> tuple[list[Node], list[int]]:
    """Bury all when that is not much; returns what was buried, and else what is to be."""
    doomed = _doomed(Tree(transaction.connection), gone)
    if len(doomed) > BURIED_AT_ONCE:
        return [], doomed
    return _bury(transaction, doomed, gone.reason, author), []


def _bury_together(
    transaction: Transaction, gone: Sequence[Gone], author: str
) -> tuple[list[Node], int]:
    """Bury the first of many, as far as that is not too much; returns how many of them it were."""
    tree = Tree(transaction.connection)
    doomed: dict[int, Reason] = {}
    count = 0
    for one in gone:
        more = [number for number in _doomed(tree, one) if number not in doomed]
        if len(doomed) + len(more) > BURIED_AT_ONCE:
            break
        doomed.update(dict.fromkeys(more, one.reason))
        count += 1
    nodes = [node for node in map(tree.node, doomed) if node is not None]
    tombs = [Draft(n.number, _tombstone(n.state, doomed[n.number], author)) for n in nodes]
    transaction.append(tombs)
    return nodes, count


def _bury_below(
    transaction: Transaction, gone: Gone, numbers: Collection[int], author: str
) -> list[Node]:
    """Bury those that still are below a node that still is gone.

    Between two transactions another root's observer may have found some of them.
    """
    tree = Tree(transaction.connection)
    if not _is_where_it_was(tree, gone):
        return []
    top = gone.node.number
    still = [number for number in numbers if top in tree.ancestors(number)]
    return _bury(transaction, still, gone.reason, author)


def _bury(
    transaction: Transaction, numbers: Collection[int], reason: Reason, author: str
) -> list[Node]:
    tree = Tree(transaction.connection)
    nodes = [node for node in map(tree.node, numbers) if node is not None]
    transaction.append([Draft(n.number, _tombstone(n.state, reason, author)) for n in nodes])
    return nodes


def _tombstone(state: State, reason: Reason, author: str) -> Removed:
    where = state.target if state.parent == SUPER_ROOT else b""
    return Removed(author, reason, state.parent, state.name, state.mode, where)
