"""Which works go to which worker, and how many at a time. Pure."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence

from watcher.metadata.wire import Work

BATCH_FILES_MAX = 64
BATCH_BYTES_MAX = 4 << 20
AHEAD_BYTES_MAX = 8 << 20
"""A worker gets its next batch before it has finished the last, so that it never waits for the
pool; but nothing is put behind so much reading that another worker would be sooner."""
LARGE_BYTES = 64 << 20
"""Reading this takes longer than anybody wants to wait for the hash of a small file."""
_BATCH_FILES_MIN = 8
"""Fewer are not worth a round trip to another worker."""
_HEAD_BYTES = 1 << 20
"""What libmagic reads of a file that is not hashed."""


class Schedule:
    """Works that wait, small ones apart from large ones.

    Args:
        workers: how many there are at most. With more than one, one of them is always left for
            small files, so that a folder of films does not delay everything else by hours.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._large_max = max(1, workers - 1)
        self._small: deque[Work] = deque()
        self._large: deque[Work] = deque()

    @property
    def waiting(self) -> int:
        """How many works wait."""
        return len(self._small) + len(self._large)

    def add(self, works: Iterable[Work]) -> None:
        """Put works behind those that wait."""
        for work in works:
            (self._large if is_large(work) else self._small).append(work)

    def put_back(self, works: Sequence[Work]) -> None:
        """Put works, taken before, in front of those that wait, in their order."""
        for work in reversed(works):
            (self._large if is_large(work) else self._small).appendleft(work)

    def next_batch(self, ahead: Collection[Work], large_running: int) -> list[Work]:
        """Take what a worker should get now.

        Args:
            ahead: what it has and has not answered.
            large_running: how many large files all workers have.

        Returns:
            Works for it; none if it has enough, or if there is nothing for it.
        """
        if len(ahead) > BATCH_FILES_MAX or sum(map(_cost, ahead)) > AHEAD_BYTES_MAX:
            return []
        if self._large and not ahead and large_running < self._large_max:
            return [self._large.popleft()]
        return self._take_small()

    def _take_small(self) -> list[Work]:
        """Take a batch: a share of what waits, so that all workers finish at the same time."""
        share = -(-len(self._small) // self._workers)
        count_max = min(BATCH_FILES_MAX, max(share, _BATCH_FILES_MIN))
        batch: list[Work] = []
        size = 0
        while self._small and len(batch) < count_max and size < BATCH_BYTES_MAX:
            cost = _cost(self._small[0])
            if batch and cost >= BATCH_BYTES_MAX:
                break
            size += cost
            batch.append(self._small.popleft())
        return batch


def is_large(work: Work) -> bool:
    """Whether a work takes so long that small ones should not wait for it."""
    return _cost(work) >= LARGE_BYTES


def _cost(work: Work) -> int:
    """Return the bytes to be read; one that a worker has died on goes alone."""
    size = work.task.size if work.task.want_hash else min(work.task.size, _HEAD_BYTES)
    return max(size, AHEAD_BYTES_MAX + 1) if work.deaths else size
