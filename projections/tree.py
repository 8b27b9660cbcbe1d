"""Questions asked of the node tree. Used on the writer's connection in jobs, else on readers'."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import apsw
import msgspec

from eventlog import codec
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Content, Event, Removed, State
from projections.fold_tree import signed

_FIELDS = (
    "select n.number, n.position, e.record from nodes n join events e on e.position = n.position"
)
CHILD = f"{_FIELDS} where n.parent = ? and n.name = ?"
CHILDREN = f"{_FIELDS} where n.parent = ?"
CHILDREN_AFTER = f"{_FIELDS} where n.parent = ? and n.name > ? order by n.name limit ?"
HAS_CHILDREN = "select 1 from nodes where parent = ? limit 1"
NODE = f"{_FIELDS} where n.number = ? and n.parent is not null"
BY_FILE = f"{_FIELDS} where n.ino = ? and n.fs = ? and n.parent is not null order by n.number"
OUTSTANDING = f"{_FIELDS} where n.content = ? and n.position > ? order by n.position limit ?"
TOGETHER = 32
"""Questions asked in one statement, which costs a quarter of as many statements."""

_PAIRS = f"with asked (x, y) as (values {', '.join(['(?, ?)'] * TOGETHER)})"
_ANSWERS = "select n.number, n.position, e.record from asked cross join nodes n"
_EVENTS = "join events e on e.position = n.position"
AT_PLACES = f"{_PAIRS} {_ANSWERS} on n.parent = asked.x and n.name = asked.y {_EVENTS}"
BY_FILES = (
    f"{_PAIRS} {_ANSWERS} on n.fs = asked.x and n.ino = asked.y and n.parent is not null {_EVENTS}"
)
BY_NUMBERS = f"{_FIELDS} where n.number in ({', '.join('?' * TOGETHER)}) and n.parent is not null"
_RAW = (
    "select n.parent, n.name, n.number, e.record"
    " from nodes n join events e on e.position = n.position"
)
RECORDS = f"{_RAW} where n.parent in ({', '.join('?' * TOGETHER)})"
COUNT_OUTSTANDING = "select content, count(*) from nodes where content is not null group by content"
COUNT_EVENTS = "select count(*) from events"
COUNT_BELOW = (
    "with recursive below (number) as (select ?1 union all"
    " select n.number from below join nodes n on n.parent = below.number and n.number <> ?1)"
    " select count(*) from below"
)
COUNT = "select count(*) from nodes where parent is not null"
PLACE = "select parent, name from nodes where number = ? and parent is not null"
PATH = (
    "with recursive up (number, position, parent, name, depth) as ("
    " select number, position, parent, name, 0 from nodes where number = ? and parent is not null"
    " union all"
    " select n.number, n.position, n.parent, n.name, up.depth + 1"
    " from up join nodes n on n.number = up.parent where n.parent is not null and depth < 10000)"
    " select number, position, parent, name from up order by depth desc"
)
"""Directories that were seen while they changed places may stand in a circle until they are seen
again: no question may then run for ever. Linux opens no path this deep; below a directory, the only
circle there can be leads back to the directory itself."""
DESCENDANTS = (
    "with recursive below (number, depth) as ("
    " select number, 1 from nodes where parent = ?1 and number <> ?1"
    " union all"
    " select n.number, below.depth + 1"
    " from below join nodes n on n.parent = below.number and n.number <> ?1)"
    " select number from below order by depth desc, number desc"
)


class Node(NamedTuple):
    """A live node.

    Attributes:
        number: its number.
        position: of its last event.
        state: after that event.
    """

    number: int
    position: int
    state: State


class Tree:
    """The node tree as one connection sees it.

    Args:
        connection: the writer's inside a job, or a reader's; used by one thread at a time.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._roots: dict[tuple[int, int], bytes] = {}

    def child(self, parent: int, name: bytes) -> Node | None:
        """Return the node at a place, or None."""
        return next(self._nodes(CHILD, parent, name), None)

    def children_at(self, places: Iterable[tuple[int, bytes]]) -> dict[tuple[int, bytes], Node]:
        """Return the nodes at places, as `child` does for one, in a quarter of the time."""
        found: dict[tuple[int, bytes], Node] = {}
        for node in self._answers(AT_PLACES, dict.fromkeys(places)):
            found.setdefault((node.state.parent, node.state.name), node)
        return found

    def children(self, parent: int) -> list[Node]:
        """Return the nodes directly in a directory; `SUPER_ROOT` gives the roots."""
        return list(self._nodes(CHILDREN, parent))

    def children_by_name(self, parent: int) -> dict[bytes, Node]:
        """Return the nodes directly in a directory by their raw names, for scans: in half the time.

        Raises:
            CorruptRecordError: a record cannot be decoded.
        """
        found: dict[bytes, Node] = {}
        try:
            for number, position, raw in fetch(self._connection, CHILDREN, (parent,)):
                state = codec.decode_unchecked(raw).state  # type: ignore[union-attr]  # see below
                found[state.name] = Node(number, position, state)
        except (msgspec.MsgspecError, AttributeError):  # damaged, or a tombstone
            return {node.state.name: node for node in self._nodes(CHILDREN, parent)}
        return found

    def records(self, parents: Sequence[int]) -> list[dict[bytes, tuple[int, bytes]]]:
        """Return what is directly in directories, for who compares records without decoding them.

        Args:
            parents: numbers of at most `TOGETHER` directories, each once.

        Returns:
            For each directory the number and the last record of each node by its raw name.
        """
        found: dict[int, dict[bytes, tuple[int, bytes]]] = {parent: {} for parent in parents}
        padded = (*parents, *[None] * (TOGETHER - len(parents)))
        for parent, name, number, record in fetch(self._connection, RECORDS, padded):
            found[parent][name] = (number, record)
        return list(found.values())

    def children_after(self, parent: int, name: bytes, limit: int) -> list[Node]:
        """Return a page of the nodes directly in a directory, in order of their raw names.

        Args:
            parent: number of the directory.
            name: only names after this one; empty for the first page.
            limit: at most so many.
        """
        return list(self._nodes(CHILDREN_AFTER, parent, name, limit))

    def has_children(self, number: int) -> bool:
        """Say whether anything is in a directory."""
        return bool(fetch(self._connection, HAS_CHILDREN, (number,)))

    def node(self, number: int) -> Node | None:
        """Return a live node by its number, or None."""
        return next(self._nodes(NODE, number), None)

    def nodes(self, numbers: Iterable[int]) -> dict[int, Node]:
        """Return the live nodes of numbers, as `node` does for one, in a quarter of the time."""
        found: dict[int, Node] = {}
        questions = iter(numbers)
        while some := list(itertools.islice(questions, TOGETHER)):
            padding = [None] * (TOGETHER - len(some))
            found.update((n.number, n) for n in self._nodes(BY_NUMBERS, *some, *padding))
        return found

    def by_file(self, fs: int, ino: int) -> list[Node]:
        """Return the nodes of a file, oldest first: more than one when it has hard links."""
        return list(self._nodes(BY_FILE, signed(ino), fs))

    def by_files(self, files: Iterable[tuple[int, int]]) -> dict[tuple[int, int], list[Node]]:
        """Return the nodes of files, as `by_file` does for one, in a quarter of the time.

        Args:
            files: filesystem and inode number of each.

        Returns:
            The nodes of each file, oldest first.
        """
        found: dict[tuple[int, int], list[Node]] = {file: [] for file in files}
        for node in self._answers(BY_FILES, ((fs, signed(ino)) for fs, ino in found)):
            found[node.state.fs, node.state.ino].append(node)
        for nodes in found.values():
            nodes.sort(key=lambda node: node.number)
        return found

    def outstanding(self, content: Content, after: int, limit: int) -> list[Node]:
        """Return nodes whose content is pending, skipped or failed, in order of last change.

        Args:
            content: which of the three.
            after: only nodes whose last event is after this position.
            limit: at most so many.
        """
        return list(self._nodes(OUTSTANDING, content, after, limit))

    def count_outstanding(self) -> dict[int, int]:
        """Return how many nodes have pending, skipped and failed content."""
        return dict(fetch(self._connection, COUNT_OUTSTANDING))

    def count(self) -> int:
        """Return how many nodes there are, roots included."""
        return int(fetch(self._connection, COUNT)[0][0])

    def count_below(self, number: int) -> int:
        """Return how many nodes a directory has below it, itself included."""
        return int(fetch(self._connection, COUNT_BELOW, (number,))[0][0])

    def count_events(self) -> int:
        """Return how many events the log holds."""
        return int(fetch(self._connection, COUNT_EVENTS)[0][0])

    def descendants(self, number: int) -> list[int]:
        """Return the numbers of all nodes below a directory, the deepest first."""
        return [row[0] for row in fetch(self._connection, DESCENDANTS, (number,))]

    def place(self, number: int) -> tuple[int, bytes] | None:
        """Return the parent's number and the name of a live node, or None."""
        rows = fetch(self._connection, PLACE, (number,))
        return (rows[0][0], rows[0][1]) if rows else None

    def path(self, number: int) -> bytes | None:
        """Return the absolute path of a live node, or None when there is no such node."""
        chain = fetch(self._connection, PATH, (number,))
        if not chain or chain[0][2] != SUPER_ROOT:
            return None
        root, position, _, _ = chain[0]
        return b"/".join([self._root_path(root, position), *(row[3] for row in chain[1:])]) or b"/"

    def paths(self, nodes: Iterable[Node]) -> list[bytes | None]:
        """Return the path of each node below a root; each directory is asked for only once."""
        above: dict[int, bytes | None] = {}
        found = []
        for node in nodes:
            parent, name = node.state.parent, node.state.name
            if parent not in above:
                above[parent] = self.path(parent)
            path = above[parent]
            found.append(None if path is None else path.rstrip(b"/") + b"/" + name)
        return found

    def ancestors(self, number: int) -> list[int]:
        """Return the numbers from the root down to a live node, itself included."""
        return [row[0] for row in fetch(self._connection, PATH, (number,))]

    def chain(self, number: int) -> list[tuple[int, bytes]]:
        """Return number and name from the root down to a live node; empty when there is none."""
        chain = fetch(self._connection, PATH, (number,))
        return [(row[0], row[3]) for row in chain] if chain and chain[0][2] == SUPER_ROOT else []

    def names(self, number: int) -> list[bytes] | None:
        """Return the names from the root down to a live node, or None when there is none."""
        chain = fetch(self._connection, PATH, (number,))
        return [row[3] for row in chain] if chain and chain[0][2] == SUPER_ROOT else None

    def resolve(self, path: bytes) -> Node | None:
        """Return the live node at an absolute path, or None."""
        for root in self.children(SUPER_ROOT):
            top = root.state.target.rstrip(b"/")
            if path.rstrip(b"/") == top or path.startswith(top + b"/"):
                return self._descend(root, path[len(top) :].split(b"/"))
        return None

    def _descend(self, node: Node, names: Iterable[bytes]) -> Node | None:
        found: Node | None = node
        for name in filter(None, names):
            if found is None:
                return None
            found = self.child(found.number, name)
        return found

    def _root_path(self, number: int, position: int) -> bytes:
        """Return the path of a root, remembered for as long as its last event is the same."""
        path = self._roots.get((number, position))
        if path is None:
            node = self.node(number)
            path = b"" if node is None else node.state.target.rstrip(os.fsencode("/"))
            self._roots = {**self._roots, (number, position): path} if len(self._roots) < 64 else {}  # noqa: PLR2004
        return path

    def _answers(self, query: str, asked: Iterable[tuple[object, object]]) -> Iterator[Node]:
        """Ask many questions; those that fill up the last statement have no answer."""
        questions = iter(asked)
        while some := list(itertools.islice(questions, TOGETHER)):
            some += [(None, None)] * (TOGETHER - len(some))
            yield from self._nodes(query, *itertools.chain.from_iterable(some))

    def _nodes(self, query: str, *bindings: object) -> Iterator[Node]:
        for number, position, raw in fetch(self._connection, query, bindings):
            yield Node(number, position, state_of(codec.decode(raw, position)))


def state_of(event: Event) -> State:
    """Return the state that an event carries.

    Raises:
        ValueError: it is a tombstone, which no live node can have as its last event.
    """
    if isinstance(event, Removed):
        raise ValueError("a live node cannot end in a tombstone; run nasfeed check")  # noqa: TRY004
    return event.state
