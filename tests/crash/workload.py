"""Real jobs on the real log, the same ones for the same seed."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from random import Random

import apsw
import msgspec

from eventlog import codec
from eventlog.events import Described, Modified, Moved, Reason, Removed
from eventlog.log import Draft, Log, Transaction
from projections.replay import FOLDS
from tests.crash.disk import Told
from tests.eventlog.helpers import (
    DEADLINE_SECONDS,
    FakeClock,
    created,
    directory_state,
    file_state,
    root_state,
)

Connect = Callable[[str], apsw.Connection]
Tell = Callable[[Told], None]


class Workload:
    """Appends random events, and says what was told as soon as it was told.

    Args:
        tell: called with what was told, on the writer's thread.
        random: where the choices come from.
    """

    def __init__(self, tell: Tell, random: Random) -> None:
        self._tell = tell
        self._random = random
        self._live: list[int] = []

    def run(self, path: Path, connect: Connect, groups: int) -> None:
        """Open the log, append groups of jobs, and close it."""
        log = Log(str(path), FOLDS, clock=FakeClock(), connect=connect)
        self._tell(Told({}, facts(log)))
        try:
            for _ in range(groups):
                self._group(log)
        finally:
            log.close()

    def _group(self, log: Log) -> None:
        """Submit some jobs that are committed together: the writer is held until all wait."""
        gate, entered = threading.Event(), threading.Event()

        def hold(_transaction: Transaction) -> None:
            entered.set()
            assert gate.wait(DEADLINE_SECONDS)

        futures: list[Future[None]] = [log.submit(hold)]
        if entered.wait(DEADLINE_SECONDS):
            count = self._random.choice((1, 1, 1, 2, 5))
            futures += [self._submit(log) for _ in range(count)]
        gate.set()
        for future in futures:
            if not isinstance(future.exception(DEADLINE_SECONDS), ZeroDivisionError | None):
                future.result()

    def _submit(self, log: Log) -> Future[None]:
        appended: list[tuple[int, list[Draft]]] = []
        drafts = self._drafts()
        fails = self._random.random() < 0.1

        def job(transaction: Transaction) -> None:
            appended.append((transaction.append(drafts), drafts))
            if fails:
                raise ZeroDivisionError

        def tell(future: Future[None]) -> None:
            if future.exception() is None:
                self._tell(Told(_records(*appended[0]), {}))
                first = appended[0][0]
                self._live += [n for n, draft in enumerate(drafts, first) if not draft.node]

        future = log.submit(job)
        future.add_done_callback(tell)
        return future

    def _drafts(self) -> list[Draft]:
        count = self._random.choice((1, 1, 2, 3, 30))
        return [self._draft() for _ in range(count)]

    def _draft(self) -> Draft:
        if not self._live or self._random.random() < 0.4:
            return self._creation()
        node = self._random.choice(self._live)
        state = file_state(self._name(), 1, node, self._random.randrange(10**6))
        if self._random.random() < 0.1:
            self._live.remove(node)
            return Draft(node, Removed("", Reason.DELETED, 1, state.name, state.mode))
        described = msgspec.structs.replace(state, content=2, hash=self._random.randbytes(16))
        return Draft(
            node,
            self._random.choice(
                (Modified("", state), Moved("", state, 1, b"old"), Described("", described))
            ),
        )

    def _creation(self) -> Draft:
        name = self._name()
        if not self._live:
            return created(root_state())
        return created(self._random.choice((file_state(name), directory_state(name))))

    def _name(self) -> bytes:
        return self._random.randbytes(self._random.choice((4, 20, 200))).hex().encode()


def facts(log: Log) -> dict[str, str]:
    """Return what every answer of a server names, apart from positions."""
    return {"log_id": log.log_id, "first_id": log.ids.to_id(1)}


def _records(first: int, drafts: list[Draft]) -> dict[int, tuple[int, bytes]]:
    return {
        position: (draft.node or position, codec.encode(draft.event))
        for position, draft in enumerate(drafts, first)
    }
