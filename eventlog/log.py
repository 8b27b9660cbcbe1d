"""The log as its one writer sees it: jobs in groups, one sync a group, then the wake-up.

A job is a function that gets the open transaction, asks the projections, and appends events. It
runs on the writer's thread, so that what it read cannot change before what it appends is stored.
It must not wait for anything, least of all for the disk of a root.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import repeat
from typing import NamedTuple, TypeVar

import apsw

from eventlog import codec, schema
from eventlog.arrivals import ArrivalFold, Arrivals
from eventlog.bulk import BulkInsert
from eventlog.clock import Clock, SystemClock
from eventlog.connection import fetch, make_directory, open_writer, translated_errors
from eventlog.epochs import GAPS, HONOURED, Gap, parse_gaps
from eventlog.errors import (
    LogClosedError,
    LogError,
    LogFormatError,
    LogFullError,
    LogUnavailableError,
)
from eventlog.events import AnyEvent, Record
from eventlog.fold import Fold
from eventlog.identifiers import NodeIds
from eventlog.lock import LogLock
from eventlog.wakeup import Wakeup

T = TypeVar("T")

_EVENTS = BulkInsert("events", ("position", "node", "time_us", "record"))

GROUP_SECONDS = 0.02
"""No job is added to a group that is older: the bound on what a commit makes others wait."""

QUEUE_MAX = 1_000
"""Jobs that may wait; a further submit blocks, so that producers slow down and nothing grows."""


class Draft(NamedTuple):
    """An event to be appended.

    Attributes:
        node: number of the node it is about; 0 for a `Created`, whose position becomes it.
        event: the event.
    """

    node: int
    event: AnyEvent


class Transaction:
    """What a job works with. Valid only while the job runs."""

    def __init__(
        self, connection: apsw.Connection, folds: Sequence[Fold], position: int, time_us: int
    ) -> None:
        self.connection = connection
        self.position = position
        self.time_us = time_us
        self._folds = folds

    def append(self, drafts: Sequence[Draft]) -> int:
        """Append events and fold them at once, so that what follows in the job sees them.

        Args:
            drafts: the events in order; may be empty.

        Returns:
            The position of the first; the others follow without gaps.
        """
        first = self.position + 1
        if not drafts:
            return first
        records = [
            Record(position, draft.node or position, self.time_us, draft.event)
            for position, draft in enumerate(drafts, first)
        ]
        _EVENTS.run(
            self.connection,
            [(r.position, r.node, r.time_us, codec.encode(r.event)) for r in records],
        )
        for fold in self._folds:
            fold.apply(self.connection, records)
        self.position += len(records)
        return first

    def append_new(self, arrivals: Arrivals) -> int:
        """Append first events of nodes, as `append`, at a third of its cost."""
        first, count = self.position + 1, len(arrivals.records)
        positions = range(first, first + count)
        rows = zip(positions, positions, repeat(self.time_us), arrivals.records)
        _EVENTS.run(self.connection, list(rows))
        records: list[Record] = []
        for fold in self._folds:
            if isinstance(fold, ArrivalFold):
                fold.arrive(self.connection, first, arrivals)
                continue
            if not records:
                events = map(codec.decode, arrivals.records, positions)
                records = [
                    Record(position, position, self.time_us, event)
                    for position, event in enumerate(events, first)
                ]
            fold.apply(self.connection, records)
        self.position += count
        return first

    def set_meta(self, key: str, value: str) -> None:
        """Store a fact about the database that is no event."""
        self.connection.execute(
            "insert or replace into meta (key, value) values (?, ?)", (key, value)
        )

    def meta(self, key: str) -> str | None:
        """Return a stored fact, or None."""
        value: str | None = self.connection.execute(
            "select value from meta where key = ?", (key,)
        ).get
        return value


class _Pending(NamedTuple):
    job: Callable[[Transaction], object]
    future: Future[object]


class Log:
    """The open log: one per database, held against other processes.

    Args:
        path: the database file; made when missing.
        folds: all projections, kept up to date in every transaction.
        clock: where event times come from.
        connect: opens the writer's connection; another one is for tests that cut the power.

    Attributes:
        full: whether the last transaction failed because the disk is full.
        reserved: while set, only jobs that free space are taken: on a full disk, what little
            space is made for them must not be filled by others.

    Raises:
        LogInUseError: another process writes to it.
        LogError: it cannot be opened.
    """

    def __init__(
        self,
        path: str,
        folds: Sequence[Fold],
        *,
        clock: Clock | None = None,
        connect: Callable[[str], apsw.Connection] = open_writer,
    ) -> None:
        self.path = path
        self.wakeup = Wakeup()
        self.failure: LogError | None = None
        self.full = False
        self.reserved = False
        self._clock = clock or SystemClock()
        self._folds = tuple(folds)
        self._queue: queue.Queue[_Pending | None] = queue.Queue(QUEUE_MAX)
        self._closing = threading.Event()
        self._at_end = False
        self._ended = threading.Event()
        make_directory(path)
        with contextlib.ExitStack() as files:
            lock = LogLock(path)
            files.callback(lock.close)
            self._connection = connect(path)
            files.callback(self._connection.close)
            self.log_id, self.floor, self.gaps, self.ids = self._prepare()
            self._files = files.pop_all()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def head(self) -> int:
        """The last durable position; 0 when nothing was ever appended."""
        return self._head

    @property
    def queued(self) -> int:
        """How many jobs wait."""
        return self._queue.qsize()

    def submit(self, job: Callable[[Transaction], T], *, frees: bool = False) -> "Future[T]":
        """Have a job run in the next transaction; blocks while too many wait.

        Args:
            job: what is to be done.
            frees: whether it frees space.

        Returns:
            A future of the job's result, done when the transaction is on the disk. It fails with
            the job's own error (only that job is undone), with `LogUnavailableError` when the
            commit failed, or with `LogClosedError`.
        """
        future: Future[T] = Future()
        if self._closing.is_set():
            future.set_exception(self._closed_error())
        elif self.reserved and not frees:
            future.set_exception(LogFullError(f"{self.path}: the disk is full; making space"))
        else:
            self._queue.put(_Pending(job, future))  # type: ignore[arg-type]  # Future is invariant
            if self._ended.is_set():
                self._drain()  # the writer ended between the two steps: nobody else will look
        return future

    def call(self, job: Callable[[Transaction], T]) -> T:
        """Run a job and wait until its transaction is on the disk."""
        return self.submit(job).result()

    def append(self, drafts: Sequence[Draft]) -> int:
        """Append events in a transaction and wait; returns the position of the first."""
        return self.call(lambda transaction: transaction.append(drafts))

    def close(self) -> None:
        """Run what was submitted, then close the files. May be called again."""
        if not self._closing.is_set():
            self._closing.set()
            self._queue.put(None)
        self._thread.join()

    def _prepare(self) -> tuple[str, int, tuple[Gap, ...], NodeIds]:
        with translated_errors(self.path):
            schema.ensure(self._connection, self.path, self._folds)
            self._head, self._time_us = _tail(self._connection)
            meta = dict(fetch(self._connection, "select key, value from meta"))
        try:
            gaps = parse_gaps(meta.get(GAPS, ""))
            floor = max(int(meta["floor"]), int(meta.get(HONOURED, 0)))
            return meta["log_id"], floor, gaps, NodeIds(meta["id_prefix"])
        except (KeyError, ValueError) as error:
            raise LogFormatError(
                f"{self.path}: damaged, its own facts are missing or wrong: {error}; "
                "restore it from a backup"
            ) from error

    def _run(self) -> None:
        try:
            while not self._at_end and (pending := self._queue.get()) is not None:
                self._run_group(pending)
        except LogError as error:
            self.failure = error
            self.wakeup.notify()
        finally:
            self._closing.set()
            self._ended.set()
            self._drain()
            self._shut()

    def _run_group(self, first: _Pending) -> None:
        """Run jobs in one transaction until none waits or the group is old, then commit."""
        connection, deadline = self._connection, self._clock.monotonic() + GROUP_SECONDS
        done: list[tuple[Future[object], object]] = []
        pending: _Pending | None = first
        try:
            with translated_errors(self.path):
                connection.execute("begin immediate")
                time_us = max(self._clock.now_us(), self._time_us)
                transaction = Transaction(connection, self._folds, self._head, time_us)
                while pending is not None:
                    self._run_job(pending, transaction, done)
                    pending = self._next(deadline)
                connection.execute("commit")
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
            lost = [future for future, _ in done]
            self._give_up(error, lost if pending is None else [*lost, pending.future])
            return
        self._time_us = time_us
        grown = transaction.position > self._head
        self._head = transaction.position
        for future, result in done:
            future.set_result(result)
        if grown:
            self.full = False
            self.wakeup.notify()

    def _next(self, deadline: float) -> _Pending | None:
        if self._clock.monotonic() >= deadline:
            return None
        try:
            pending = self._queue.get_nowait()
        except queue.Empty:
            return None
        self._at_end = pending is None
        return pending

    def _run_job(
        self,
        pending: _Pending,
        transaction: Transaction,
        done: list[tuple[Future[object], object]],
    ) -> None:
        if not pending.future.set_running_or_notify_cancel():
            return  # nobody waits for it any more; from here on it cannot be cancelled
        before = transaction.position
        connection = self._connection
        connection.execute("savepoint job")
        try:
            result = pending.job(transaction)
        except apsw.Error:
            raise  # the database itself is in trouble: the whole group fails
        except BaseException as error:  # noqa: BLE001 - handed to whoever submitted the job
            connection.execute("rollback to job")
            connection.execute("release job")
            transaction.position = before
            pending.future.set_exception(error)
        else:
            connection.execute("release job")
            done.append((pending.future, result))

    def _give_up(self, error: Exception, futures: Sequence[Future[object]]) -> None:
        """Undo a group whose transaction failed; after an I/O error the log is closed for good.

        After a failed sync the kernel may have dropped the pages, so trying again could call
        durable what is not (https://wiki.postgresql.org/wiki/Fsync_Errors).
        """
        self.full = isinstance(error, LogFullError)
        try:
            if _is_final(error):
                raise LogError(f"{_line(error)}; stopped: what follows may not last") from error
            if not self._connection.getautocommit():
                with translated_errors(self.path):
                    self._connection.execute("rollback")
        finally:
            for future in futures:
                _fail(future, error)

    def _closed_error(self) -> LogError:
        return self.failure or LogClosedError(f"{self.path}: the log is closed")

    def _drain(self) -> None:
        while True:
            try:
                pending = self._queue.get_nowait()
            except queue.Empty:
                return
            if pending is not None:
                _fail(pending.future, self._closed_error())

    def _shut(self) -> None:
        try:
            with translated_errors(self.path):
                self._files.close()
        except LogError as error:
            self.failure = self.failure or error


def _is_final(error: Exception) -> bool:
    """Return whether nothing may be appended after an error: it is not known what is stored."""
    if isinstance(error, LogFullError):
        return False
    return isinstance(error.__cause__, apsw.IOError) or not isinstance(error, LogUnavailableError)


def _line(error: Exception) -> str:
    return str(error) if isinstance(error, LogError) else f"the log's writer: {error!r}"


def _fail(future: Future[object], error: Exception) -> None:
    if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
        future.set_exception(error)


def _tail(connection: apsw.Connection) -> tuple[int, int]:
    """Return the last position ever given and the newest event time."""
    head = connection.execute("select seq from sqlite_sequence where name = 'events'").get
    time_us = connection.execute("select time_us from events order by position desc limit 1").get
    return head or 0, time_us or 0
