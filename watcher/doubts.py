"""Files that could not be read because the disk failed: is it the file, or the whole disk?

A disk that is pulled fails for every file on it. To call them all failed would be wrong, and for
good. So their root is looked at first, and they are read again, later and later. Only what fails
again and again while the root is there is called failed; and even that is read once more when the
root has been away and returns.
"""

from collections.abc import Callable, Iterable

import msgspec

from projections.tree import Tree
from watcher.metadata.task import Outcome, Status

ATTEMPTS_MAX = 7
"""With the pauses of `watcher.backlog` they take half a minute, in which a root is looked at half a
hundred times."""


class Doubts:
    """Sorts outcomes.

    Args:
        is_followed: whether the root of this number is there.
    """

    def __init__(self, is_followed: Callable[[int], bool]) -> None:
        self._is_followed = is_followed
        self._attempts: dict[int, int] = {}

    def sort(self, outcomes: Iterable[Outcome], tree: Tree) -> tuple[list[Outcome], list[Outcome]]:
        """Tell what is known from what is not.

        Args:
            outcomes: what workers say.
            tree: tells whose root a file is below.

        Returns:
            Outcomes to be recorded, those of hopeless files being failures by now; and those of
            files that are to be read again.
        """
        known: list[Outcome] = []
        doubted: list[Outcome] = []
        for outcome in outcomes:
            if outcome.status != Status.UNREADABLE:
                self._attempts.pop(outcome.number, None)
                known.append(outcome)
            elif self._is_hopeless(outcome.number, tree):
                known.append(msgspec.structs.replace(outcome, status=Status.FAILED))
            else:
                doubted.append(outcome)
        return known, doubted

    def _is_hopeless(self, number: int, tree: Tree) -> bool:
        chain = tree.ancestors(number)
        if not chain:
            return True  # it was removed: nothing will be recorded
        attempts = self._attempts.get(number, 0) + self._is_followed(chain[0])
        if attempts >= ATTEMPTS_MAX:
            self._attempts.pop(number, None)
            return True
        self._attempts[number] = attempts
        return False
