"""What is to be described: cursors over pending nodes, and what must wait. Does no I/O itself."""

from collections import deque

from eventlog.events import Content
from projections.tree import Node, Tree

RETRY_FIRST_SECONDS = 0.25
RETRY_MAX_SECONDS = 60.0
"""Pause before a file is tried again that was being written, or was not what the tree says."""

RATE_SECONDS = 10.0
"""The rate of work is that of so many last seconds."""


class Backlog:
    """Hands out nodes to be described: new changes first, then the old ones in order.

    Args:
        head: position of the last event; what is pending up to there is old.
    """

    def __init__(self, head: int) -> None:
        self._old = 0
        self._old_end = head
        self._new = head
        self._rehash: dict[Content, int] = {}
        self._flying: dict[int, bool] = {}
        self._retry: dict[int, float] = {}
        self._pauses: dict[int, float] = {}
        self._drained = False

    @property
    def in_flight(self) -> int:
        """How many nodes were handed out and not finished."""
        return len(self._flying)

    @property
    def idle(self) -> bool:
        """Whether the last look found nothing, and nothing is in flight or waits."""
        return self._drained and not (self._flying or self._retry)

    def split_at(self, head: int) -> None:
        """Call old what is pending up to a position."""
        if self._old >= self._old_end:
            self._old = self._new
        self._old_end = max(head, self._new)
        self._new = self._old_end

    def rehash(self) -> None:
        """Hand out what was skipped or has failed, too."""
        self._rehash = {Content.SKIPPED: 0, Content.FAILED: 0}
        self._drained = False

    def retry_failed(self) -> None:
        """Hand out what has failed, too."""
        self._rehash[Content.FAILED] = 0
        self._drained = False

    def next(self, tree: Tree, limit: int, now: float) -> list[Node]:
        """Return nodes to describe, the most urgent kind first.

        Args:
            tree: the tree.
            limit: at most so many.
            now: seconds of a monotonic clock.

        Returns:
            Nodes that are not in flight; none when all is done, in flight or waits.
        """
        self._drained = False
        while nodes := self._newest(tree, limit) or self._oldest(tree, limit):
            if fresh := [node for node in nodes if not self._is_flying(node)]:
                return fresh
        due = [number for number, when in self._retry.items() if when <= now][:limit]
        for number in due:
            del self._retry[number]
        found = [node for node in map(tree.node, due) if node is not None]
        pending = [n for n in found if n.state.content == Content.PENDING]
        nodes = [n for n in pending if not self._is_flying(n)] or self._skipped(tree, limit)
        self._drained = not nodes
        return nodes

    def begin(self, number: int) -> None:
        """Note that a node is in flight."""
        self._flying[number] = False

    def finish(self, number: int, now: float, *, settled: bool) -> None:
        """Note that a node is no longer in flight.

        Args:
            number: the node.
            now: seconds of a monotonic clock.
            settled: whether what was handed out is done; otherwise it is tried again later.
        """
        changed_meanwhile = self._flying.pop(number, False)
        if settled:
            self._pauses.pop(number, None)
        if changed_meanwhile or not settled:
            self.put_off(number, now)

    def put_off(self, number: int, now: float) -> None:
        """Have a node handed out again after a pause, longer each time."""
        pause = self._pauses.get(number, RETRY_FIRST_SECONDS)
        self._retry[number] = now + pause
        self._pauses[number] = min(2 * pause, RETRY_MAX_SECONDS)

    def await_writer(self, number: int, now: float) -> None:
        """Have a node handed out again soon, because its writer may be done then."""
        self._retry[number] = now + RETRY_FIRST_SECONDS

    def sleep_seconds(self, now: float, longest: float) -> float:
        """Return how long nothing can be handed out unless something happens."""
        return max(0.0, min(min(self._retry.values(), default=now + longest) - now, longest))

    def _is_flying(self, node: Node) -> bool:
        if node.number in self._flying:
            self._flying[node.number] = True
            return True
        return False

    def _newest(self, tree: Tree, limit: int) -> list[Node]:
        nodes = tree.outstanding(Content.PENDING, self._new, limit)
        if nodes:
            self._new = nodes[-1].position
        for node in nodes:  # it has changed: what was wrong with it may be over
            self._pauses.pop(node.number, None)
        return nodes

    def _oldest(self, tree: Tree, limit: int) -> list[Node]:
        if self._old >= self._old_end:
            return []
        nodes = tree.outstanding(Content.PENDING, self._old, limit)
        self._old = nodes[-1].position if nodes else self._old_end
        return [node for node in nodes if node.position <= self._old_end]

    def _skipped(self, tree: Tree, limit: int) -> list[Node]:
        for content, after in list(self._rehash.items()):
            nodes = tree.outstanding(content, after, limit)
            if nodes:
                self._rehash[content] = nodes[-1].position
                return [node for node in nodes if not self._is_flying(node)]
            del self._rehash[content]
        return []


class Tally:
    """Counts work and its rate."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0
        self._marks: deque[tuple[float, int]] = deque()

    def add(self, done: int, failed: int, now: float) -> None:
        """Count files at a time in seconds."""
        self.done += done
        self.failed += failed
        self._marks.append((now, done))

    def per_second(self, now: float) -> float:
        """Return the rate of the last seconds of work."""
        while self._marks and now - self._marks[0][0] > RATE_SECONDS:
            self._marks.popleft()
        if not self._marks:
            return 0.0
        return sum(done for _, done in self._marks) / max(now - self._marks[0][0], 1.0)
