"""Where nodes were at the time of an event, for those who read the history in order."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

import apsw

from eventlog.events import Moved, Removed
from projections.last_paths import LastPaths, Place


class PathsThen(LastPaths):
    """Remembers the paths of directories as of one position, which only rises.

    A directory is now, or was last, where `LastPaths` says. Before that it was where the first of
    its moves that are still to come takes it from. So nothing before the position need be read.
    Where a compaction has dropped a move, and no archive has it, a directory is shown under a
    later name.

    Args:
        connection: a reader's.
        gone: tombstones of directories that the log does not hold any more.
        moves: all moves of directories above the first position that is asked for, in order, see
            `eventlog.whole.moved_directories`; each takes some 300 bytes.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        gone: Mapping[int, Removed],
        moves: Iterable[tuple[int, int, Moved]],
    ) -> None:
        super().__init__(connection, gone)
        self._to_come: deque[tuple[int, int]] = deque()
        self._before: defaultdict[int, deque[Place]] = defaultdict(deque)
        for position, node, event in moves:
            self._to_come.append((position, node))
            self._before[node].append(Place.before(event))

    def advance(self, position: int) -> None:
        """Go on to a position: directories are where they were right after it."""
        while self._to_come and self._to_come[0][0] <= position:
            _, node = self._to_come.popleft()
            self._before[node].popleft()
            self.forget()

    def _place(self, number: int) -> Place | None:
        before = self._before.get(number)
        return before[0] if before else super()._place(number)
