"""Has the content of files described, and appends what was found.

What is to be done is a query (nodes whose content is pending), so it survives a restart. New
changes come before the back-fill of what the first scan found.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from eventlog.clock import Clock
from eventlog.connection import open_reader
from eventlog.errors import LogClosedError, LogError
from eventlog.events import DISK, Content, Described, State
from eventlog.log import Draft, Log, Transaction
from projections.tree import Node, Tree
from watcher.backend import Place
from watcher.backlog import Backlog, Tally
from watcher.doubts import Doubts
from watcher.metadata.pool import ProbePool
from watcher.metadata.task import Outcome, Status, Task
from watcher.pace import Pace

PAGE = 500
"""Nodes asked for by one query."""

GATHER_MAX = 256
GATHER_SECONDS = 0.1
"""While much is to be done, outcomes are appended in groups of so many or so often."""

ROUNDS_PER_SECOND = 50
"""How often the log is asked what is pending, while it grows all the time."""

IDLE_SECONDS = 1.0
"""The longest sleep: a poll that backs up the wake-ups."""

REPORT_SECONDS = 0.5
"""How often the status is renewed."""

_log = logging.getLogger(__name__)


class DescriberStatus(msgspec.Struct, frozen=True):
    """What the describer says of itself.

    Attributes:
        pending: files that wait, those being read included.
        done: files described since the start.
        failed: of these, how many could not be described wholly.
        per_second: files described in the last seconds of work.
        workers: processes that run now.
        deaths: workers that ended without being asked to.
        problem: why nothing can be appended now, else "".
    """

    pending: int = 0
    done: int = 0
    failed: int = 0
    per_second: float = 0.0
    workers: int = 0
    deaths: int = 0
    problem: str = ""


class Roots(NamedTuple):
    """Who follows the roots.

    Attributes:
        suspect: told the root's number and the place of a file that is not what was recorded, or
            cannot be read.
        is_followed: whether the root of a number is there.
    """

    suspect: Callable[[int, Place], None]
    is_followed: Callable[[int], bool]


class When(NamedTuple):
    """When files may be read.

    Attributes:
        being_written: whether a writer seems to have the file at a place open.
        hashed_after: only files whose last event is after this position are hashed; None: not
            known yet, so none is. Asked each time.
        is_resting: whether no file is begun now: disks are left to sleep, or observers have fallen
            behind and need the processors.
    """

    being_written: Callable[[Place], bool]
    hashed_after: Callable[[], int | None]
    is_resting: Callable[[], bool]


class Describer:
    """Describes files in a thread of its own.

    Args:
        log: where pending nodes are found and events go.
        pool: makes the worker processes, in this thread.
        when: when files may be read.
        roots: who follows the roots.
        clock: time.
    """

    def __init__(
        self,
        log: Log,
        pool: Callable[[], ProbePool],
        when: When,
        roots: Roots,
        clock: Clock,
    ) -> None:
        self._log = log
        self._make_pool = pool
        self._when = when
        self._suspect = roots.suspect
        self._doubts = Doubts(roots.is_followed)
        self._clock = clock
        self._stopping = threading.Event()
        self._rehash_asked = threading.Event()
        self._retry_asked = threading.Event()
        self._split_asked = threading.Event()
        self._pool: ProbePool | None = None
        self._backlog = Backlog(log.head)
        self._tally = Tally()
        self._reported = 0.0
        self._appended = 0.0
        self._status = DescriberStatus()
        self._thread = threading.Thread(target=self._run, name="describer", daemon=True)

    @property
    def status(self) -> DescriberStatus:
        """The state: counts of work as they are, the rest as of a moment ago."""
        return msgspec.structs.replace(
            self._status, done=self._tally.done, failed=self._tally.failed
        )

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping.set()
        self._wake()

    def join(self) -> None:
        """Wait for the end, if it was ever started."""
        if self._thread.ident is not None:
            self._thread.join()

    def put_aside_backlog(self) -> None:
        """Let what changes from now on come before what is pending already."""
        self._split_asked.set()
        self._wake()

    def rehash(self) -> None:
        """Have the files hashed that were skipped or failed."""
        self._rehash_asked.set()
        self._wake()

    def retry_failed(self) -> None:
        """Have the files read again that failed: their disk has returned."""
        self._retry_asked.set()
        self._wake()

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be done, as far as is known."""
        return self._backlog.idle and not self._rehash_asked.is_set()

    def _wake(self) -> None:
        if (pool := self._pool) is not None:
            pool.wake()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._work()
            except LogClosedError:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, see below
                # A fault of our own must not end the describing for good. What was in hand is
                # still pending in the log.
                _log.exception("describing files: please report this")
                problem = f"an error of nasfeed itself: {error!r}"
                self._status = msgspec.structs.replace(self._status, problem=problem)
                self._stopping.wait(IDLE_SECONDS)
                self._backlog = Backlog(self._log.head)

    def _work(self) -> None:
        connection = open_reader(self._log.path)
        self._pool = pool = self._make_pool()
        unsubscribe = self._log.wakeup.subscribe(pool.wake)
        try:
            pace = Pace(self._clock.monotonic(), ROUNDS_PER_SECOND)
            while not self._stopping.is_set():
                self._round(pool, Tree(connection))
                self._stopping.wait(pace.wait_seconds(self._clock.monotonic()))
        finally:
            unsubscribe()
            self._pool = None
            pool.close()
            connection.close()

    def _round(self, pool: ProbePool, tree: Tree) -> None:
        if self._rehash_asked.is_set():
            self._backlog.rehash()
            self._rehash_asked.clear()  # after: until then it counts as work to be done
        if self._retry_asked.is_set():
            self._retry_asked.clear()
            self._backlog.retry_failed()
        if self._split_asked.is_set():
            self._split_asked.clear()
            self._backlog.split_at(self._log.head)
        self._plan(pool, tree)
        outcomes, doubted = self._doubts.sort(self._gather(pool), tree)
        self._report_changed(doubted, tree)
        self._finish(doubted, settled=False)
        try:
            problem = ""
            self._append(outcomes)
            self._report_changed(outcomes, tree)
        except LogClosedError:
            raise
        except LogError as error:
            # Nothing is lost: what could not be appended is still pending.
            problem = str(error)
            self._finish(outcomes, settled=False)
            self._stopping.wait(IDLE_SECONDS)
        self._report(pool, tree, problem)

    def _plan(self, pool: ProbePool, tree: Tree) -> None:
        now = self._clock.monotonic()
        while pool.room > 0 and not self._when.is_resting():
            nodes = self._backlog.next(tree, min(PAGE, pool.room), now)
            if not nodes:
                return
            tasks = []
            for node, path in zip(nodes, tree.paths(nodes), strict=True):
                if self._when.being_written(_place(node)):
                    self._backlog.await_writer(node.number, now)
                elif path is not None:
                    tasks.append(self._task(node, path))
            pool.submit(tasks)

    def _task(self, node: Node, path: bytes) -> Task:
        state = node.state
        after = self._when.hashed_after()
        rehashed = state.content != Content.PENDING
        self._backlog.begin(node.number)
        return Task(
            number=node.number,
            path=path,
            ino=state.ino,
            size=state.size,
            mtime_ns=state.mtime_ns,
            ctime_ns=state.ctime_ns,
            want_hash=rehashed or (after is not None and node.position > after),
        )

    def _gather(self, pool: ProbePool) -> list[Outcome]:
        """Wait for outcomes; while there is much to do, for a good many of them.

        Few that come again and again are waited for as well: each group costs a sync of the log,
        for which those wait who change files.
        """
        outcomes = pool.collect(self._backlog.sleep_seconds(self._clock.monotonic(), IDLE_SECONDS))
        if outcomes and len(outcomes) < self._backlog.in_flight <= 2 * GATHER_MAX:
            self._stopping.wait(self._appended + GATHER_SECONDS - self._clock.monotonic())
            return outcomes + pool.collect(0)
        deadline = self._clock.monotonic() + GATHER_SECONDS
        while outcomes and len(outcomes) < GATHER_MAX and self._backlog.in_flight > 2 * GATHER_MAX:
            left = deadline - self._clock.monotonic()
            if left <= 0 or self._stopping.is_set():
                break
            outcomes += pool.collect(left)
        return outcomes

    def _append(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        problems = self._log.call(lambda tx: describe(tx, outcomes))
        self._appended = self._clock.monotonic()
        for path, problem in problems:
            _log.warning("%s: %s", os.fsdecode(path), problem)
        self._tally.add(len(outcomes), len(problems), self._clock.monotonic())
        self._finish(outcomes, settled=True)

    def _report_changed(self, outcomes: Iterable[Outcome], tree: Tree) -> None:
        for outcome in outcomes:
            if outcome.status not in (Status.CHANGED, Status.UNREADABLE):
                continue
            chain = tree.chain(outcome.number)
            if len(chain) > 1:  # else it is gone by now
                self._suspect(chain[0][0], Place(chain[-2][0], chain[-1][1]))

    def _finish(self, outcomes: Iterable[Outcome], *, settled: bool) -> None:
        now = self._clock.monotonic()
        for outcome in outcomes:
            settles = settled and outcome.status != Status.CHANGED
            self._backlog.finish(outcome.number, now, settled=settles)

    def _report(self, pool: ProbePool, tree: Tree, problem: str) -> None:
        now = self._clock.monotonic()
        if problem == self._status.problem and now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        self._status = DescriberStatus(
            pending=tree.count_outstanding().get(Content.PENDING, 0),
            done=self._tally.done,
            failed=self._tally.failed,
            per_second=self._tally.per_second(now),
            workers=len(pool.worker_pids),
            deaths=pool.deaths,
            problem=problem,
        )


def describe(transaction: Transaction, outcomes: Iterable[Outcome]) -> list[tuple[bytes, str]]:
    """Append what was found about files that are still the ones that were read.

    Args:
        transaction: an open one.
        outcomes: what the workers found.

    Returns:
        Path and problem of the files that could not be described wholly.
    """
    tree = Tree(transaction.connection)
    outcomes = list(outcomes)
    known = tree.nodes(outcome.number for outcome in outcomes)
    drafts: list[Draft] = []
    problems: list[tuple[bytes, str]] = []
    for outcome in outcomes:
        node = known.get(outcome.number)
        if node is None or not _is_of(outcome, node.state):
            continue
        after = _after(node.state, outcome)
        if after != node.state:  # what failed before may have failed again in the same way
            drafts.append(Draft(node.number, Described(DISK, after, outcome.problem)))
        if outcome.problem:
            problems.append((tree.path(node.number) or b"", outcome.problem))
    transaction.append(drafts)
    return problems


def _is_of(outcome: Outcome, state: State) -> bool:
    return (
        outcome.status != Status.CHANGED
        and state.content in (Content.PENDING, Content.SKIPPED, Content.FAILED)
        and (outcome.ino, outcome.size, outcome.mtime_ns, outcome.ctime_ns)
        == (state.ino, state.size, state.mtime_ns, state.ctime_ns)
    )


def _after(state: State, outcome: Outcome) -> State:
    if outcome.status == Status.FAILED:
        content = Content.FAILED
    else:
        content = Content.DONE if outcome.hash else Content.SKIPPED
    return msgspec.structs.replace(
        state,
        content=content,
        hash=outcome.hash,
        mime=outcome.mime,
        width=outcome.width,
        height=outcome.height,
        duration_ms=outcome.duration_ms,
    )


def _place(node: Node) -> Place:
    return Place(node.state.parent, node.state.name)
