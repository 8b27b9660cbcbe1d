"""What the log and its folds should say, as plain dictionaries: the oracle of the tests."""

from collections.abc import Iterable, Iterator

from eventlog.events import SUPER_ROOT, Content, Event, Record, Removed, State
from eventlog.library import LibraryEvent

OUTSTANDING = (Content.PENDING, Content.SKIPPED, Content.FAILED)


class Model:
    """The nodes that there are, and the last event of each node that there ever was."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.last: dict[int, tuple[int, Event]] = {}

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Model":
        """Return what some events add up to."""
        model = cls()
        for record in records:
            model.apply(record)
        return model

    def apply(self, record: Record) -> None:
        event = record.event
        if isinstance(event, LibraryEvent):
            return  # it is about no node
        self.last[record.node] = (record.position, event)
        if isinstance(event, Removed):
            self.states.pop(record.node, None)
        else:
            self.states[record.node] = event.state

    def children(self, parent: int) -> list[int]:
        return sorted(n for n, state in self.states.items() if state.parent == parent)

    def at(self, parent: int, name: bytes) -> list[int]:
        return [n for n in self.children(parent) if self.states[n].name == name]

    def by_file(self, fs: int, ino: int) -> list[int]:
        return sorted(n for n, s in self.states.items() if (s.fs, s.ino) == (fs, ino))

    def outstanding(self, content: Content) -> list[int]:
        """Return the nodes with so much to do, in order of their last change."""
        found = [n for n, state in self.states.items() if state.content == content]
        return sorted(found, key=lambda n: self.last[n][0])

    def below(self, number: int) -> set[int]:
        """Return the nodes below a directory, also when it stands in a circle."""
        found: set[int] = set()
        todo = [number]
        while todo:
            fresh = set(self.children(todo.pop())) - found - {number}
            found |= fresh
            todo += fresh
        return found

    def chain(self, number: int) -> list[int] | None:
        """Return the nodes from the root down to a node; None when it hangs from no root."""
        chain: list[int] = []
        while number != SUPER_ROOT:
            if number not in self.states or number in chain:
                return None
            chain.insert(0, number)
            number = self.states[number].parent
        return chain or None

    def path(self, number: int) -> bytes | None:
        chain = self.chain(number)
        if chain is None:
            return None
        top = self.states[chain[0]].target
        return b"/".join([top.rstrip(b"/"), *(self.states[n].name for n in chain[1:])]) or b"/"

    def changes(self, cursor: int) -> Iterator[tuple[int, int, Event]]:
        """Return what a client at a cursor has not seen, as position, node and event."""
        for position, node in sorted((p, n) for n, (p, _) in self.last.items()):
            event = self.last[node][1]
            if position > cursor and not (isinstance(event, Removed) and node > cursor):
                yield position, node, event
