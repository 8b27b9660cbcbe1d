"""What a scan has done by walkers, and what comes back from them."""

from typing import TYPE_CHECKING

from watcher.finds import Finds
from watcher.recorder import Recorder
from watcher.walk import Listed, Todo
from watcher.walkers import Walkers

if TYPE_CHECKING:
    from watcher.scan import Counts

WAIT_SECONDS = 0.02
"""How long answers are waited for before hints get their turn."""


class Help:
    """Walkers at work for a scan.

    Args:
        walkers: who helps.
        recorder: records what they find.
        counts: of the scan.
        fresh: nothing is known of what is to be walked, until `give_way`.

    Attributes:
        own: directories that they have left to the server.
    """

    def __init__(
        self, walkers: Walkers, recorder: Recorder, counts: "Counts", *, fresh: bool
    ) -> None:
        self.own: list[Todo] = []
        self._walkers = walkers
        self._counts = counts
        self._finds = Finds(recorder) if fresh else None
        self._left: list[Todo] = []

    # left: as `own`, but what stands for their numbers may not be stored yet.

    @property
    def busy(self) -> bool:
        """Whether anything is still to come of it."""
        return bool(self._walkers.busy or self._finds or self._left or self.own)

    def work(self, stack: list[Todo]) -> bool:
        """Hand out directories, and take answers.

        Args:
            stack: what is to be walked; what was found is put on it.

        Returns:
            Whether any walkers live.
        """
        self._walkers.give(stack, self._finds.stand_in if self._finds is not None else None)
        self._take(stack, 0 if self.own else WAIT_SECONDS)
        self._settle(everything=not (stack or self._walkers.busy))
        if not self._walkers:
            self.give_way(stack)
        elif self._left and not stack and not self._walkers.busy:
            self._resolve(self._left)
            self.own += self._left
            self._left.clear()
        return bool(self._walkers)

    def give_way(self, stack: list[Todo]) -> None:
        """Record what was found so far, and find no more: only compare.

        Args:
            stack: as in `work`; all on it have their own numbers afterwards.
        """
        if self._finds is None:
            self.own += self._left
        else:
            while self._walkers.busy:
                self._take(stack, WAIT_SECONDS)
            self._settle(everything=True)
            self._resolve(self._left)
            self._resolve(stack)
            self.own += self._left
            self._finds = None
        self._left.clear()

    def close(self) -> None:
        """Let the walkers go. A second call does nothing."""
        self._walkers.close()

    def _take(self, stack: list[Todo], seconds: float) -> None:
        for answer in self._walkers.take(seconds):
            self._counts.entries += answer.entries
            if isinstance(answer, Listed):
                self._counts.directories += answer.directories
                if self._finds is not None and answer.directories:
                    self._finds.add(answer.found, answer.entries)
            else:
                self._counts.directories += len(answer.numbers)
            self._left += answer.others
            stack += answer.todos

    def _settle(self, *, everything: bool) -> None:
        """Have directories watched whose numbers are stored."""
        for stored in self._finds.stored(everything=everything) if self._finds is not None else ():
            self._counts.events += stored.events
            self._walkers.watch(stored.numbers, stored.keys)

    def _resolve(self, todos: list[Todo]) -> None:
        if self._finds is not None:
            todos[:] = map(self._finds.known, todos)
