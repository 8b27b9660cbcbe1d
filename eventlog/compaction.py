"""Compaction: of what is older than the history window, only the last event of each node stays.

An event goes when a later event of the same node, itself older than the window, says all there is
to say about the node. So the last event of a node, live or tombstone, always stays where it is.
The feed reads only last events: it gives the same answer to every cursor, at every moment, and
readers that page while this runs see no difference.

It goes through the log in stretches: each event of a stretch drops the one before it of its node.
Two facts in `meta` say how far it is. Both change in the transactions of the drops themselves, so a
kill leaves nothing to repair:

- `merged`: the history is complete from this position on. A state of the tree at or after it can
  be made from the log alone. (A squash moves it to the log's end before it drops anything.)
- `compacted`: of each node there is at most one event up to here.

The events to be dropped are looked up, and their pages thereby fetched from the disk, by a reader.
The writer only deletes, in steps that `eventlog.pace` keeps short. Checkpoints are made by a
connection of our own, so that the writer's commits need not.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import apsw
import msgspec

from eventlog import history
from eventlog.archive import ARCHIVE_PATH, ARCHIVED, Archive
from eventlog.clock import Clock
from eventlog.connection import fetch, open_reader, open_writer, translated_errors
from eventlog.log import Log, Transaction
from eventlog.pace import SIZE_MIN, Pace

MERGED: Final = "merged"
COMPACTED: Final = "compacted"

DAY_US: Final = 86_400_000_000

KEPT_PAGES: Final = 256
"""Free pages that stay in the file, 1 MiB: then what comes next need not make it grow again."""

CHECKPOINT_ROWS: Final = 1_000
"""Rows or pages changed between two checkpoints; each can cost two pages of WAL, 8 MiB in all."""

STRETCH: Final = 200_000
"""Events whose predecessors are dropped in order of position: neighbours share pages."""

LOOKED_UP: Final = 10_000
"""Events that one query goes through, so that no read transaction is long."""

WAIT_SECONDS: Final = 0.1
"""How often who waits for another run to end looks whether it should stop waiting."""

END = (
    "select position from events where position > ? and position <= ? order by position"
    " limit 1 offset ?"
)
SUPERSEDED = (
    "select old.position, length(old.record)"
    " from events new join events old on old.position = (select max(o.position) from events o"
    " where o.node = new.node and o.position < new.position)"
    " where new.position > ? and new.position <= ? and new.node < new.position"
)
FACTS = "select key, value from meta where key in ('merged', 'compacted')"
FREE_PAGES = "pragma freelist_count"
SIZE = "select page_count * page_size from pragma_page_count, pragma_page_size"

Victim = tuple[int, int]
"""Position of an event, and size of its record."""

Connect = Callable[[str], apsw.Connection]
Report = Callable[[int, int], object]
"""Is told how many positions are done, and of how many."""


class Result(msgspec.Struct):
    """What a compaction did, or would do.

    Attributes:
        merged: position up to which the history is merged.
        dropped: how many events went.
        dropped_bytes: size of their records.
        archived: how many events were written to the archive.
        freed_bytes: by how much the database shrank.
        complete: whether all was done; False when it was stopped, and will go on another time.
        longest_hold_ms: the longest that the writer was held, milliseconds.
        seconds: how long it took.
    """

    merged: int = 0
    dropped: int = 0
    dropped_bytes: int = 0
    archived: int = 0
    freed_bytes: int = 0
    complete: bool = False
    longest_hold_ms: float = 0.0
    seconds: float = 0.0


def no_hook(_upto: int) -> None:
    """Do nothing before a compaction."""


class Options(NamedTuple):
    """How to compact.

    Attributes:
        window_us: how old an event must be to be merged, microseconds.
        archive: where events are kept before they are dropped, or None.
        before: called with the position up to which will be merged, before anything is dropped;
            what it raises stops the compaction.
        connect: opens the connection that checkpoints; another one is for tests.
    """

    window_us: int
    archive: Archive | None = None
    before: Callable[[int], object] = no_hook
    connect: Connect = open_writer


def no_report(_done: int, _of: int) -> None:
    """Tell nobody."""


class Compactor:
    """Compacts a log, one run at a time.

    Args:
        log: the open log.
        options: how.
        clock: time.

    Attributes:
        options: how.
    """

    def __init__(self, log: Log, options: Options, clock: Clock) -> None:
        self._lock = threading.Lock()
        self.options = options
        self._log = log
        self._clock = clock

    def run(
        self,
        stop: threading.Event,
        rest: float = 0.0,
        report: Report = no_report,
        window_us: int | None = None,
    ) -> Result:
        """Compact until all is done, or until told to stop.

        Args:
            stop: set to have it end soon.
            rest: see `Pace`.
            report: told how far it is.
            window_us: how old an event must be to be merged, if it is not as in the options.

        Returns:
            What was done.

        Raises:
            LogError: something could not be read or stored; what was done before stays done.
        """
        pace = Pace(self._log, self._clock, stop, rest)
        with self.alone(pace) as is_alone:
            return self.run_alone(pace, report, window_us) if is_alone else Result()

    @contextlib.contextmanager
    def alone(self, pace: Pace) -> Iterator[bool]:
        """Wait until nobody else drops or moves events, and have nobody begin meanwhile.

        Yields:
            True; False when the wait was stopped.
        """
        is_alone = False
        while not is_alone and not pace.is_stopped:
            is_alone = self._lock.acquire(timeout=WAIT_SECONDS)
        try:
            yield is_alone
        finally:
            if is_alone:
                self._lock.release()

    def run_alone(self, pace: Pace, report: Report, window_us: int | None = None) -> Result:
        """Do as `run` for who is `alone` already."""
        return self._run(pace, report, self.options, window_us)

    def relieve(self, pace: Pace, report: Report) -> Result:
        """Do as `run` on a full disk: tell nobody before, and leave no more WAL than needed."""
        with self.alone(pace) as is_alone:
            options = self.options._replace(before=no_hook)
            result = self._run(pace, report, options, None) if is_alone else Result()
        with (
            translated_errors(self._log.path),
            contextlib.closing(self.options.connect(self._log.path)) as own,
        ):
            own.set_busy_timeout(0)  # a reader that is in its way must not hold the writer
            own.execute("pragma wal_checkpoint(truncate)").fetchall()
        return result

    def _run(self, pace: Pace, report: Report, options: Options, window_us: int | None) -> Result:
        path, began = self._log.path, self._clock.monotonic()
        window_us = options.window_us if window_us is None else window_us
        with (
            translated_errors(path),
            contextlib.closing(open_reader(path)) as reader,
            contextlib.closing(options.connect(path)) as own,
        ):
            work = _Work(pace, options, reader, own)
            work.all(_end(reader, self._clock.now_us() - window_us), report)
        work.result.longest_hold_ms = round(pace.longest_seconds * 1000, 3)
        work.result.seconds = round(self._clock.monotonic() - began, 3)
        return work.result


class _Work:
    """One run.

    Args:
        pace: runs the steps.
        options: how.
        reader: looks up what is to be dropped.
        own: makes checkpoints.
    """

    def __init__(
        self, pace: Pace, options: Options, reader: apsw.Connection, own: apsw.Connection
    ) -> None:
        self.result = Result()
        self._pace = pace
        self._options = options
        self._reader = reader
        self._own = own
        self._unchecked = 0

    def all(self, upto: int, report: Report) -> None:
        """Merge up to a position, then give the space back."""
        size = _size(self._reader)
        merged, after = _progress(self._reader)
        if after < upto:
            self._options.before(upto)
        start = after
        while after < upto and not self._pace.is_stopped:
            after = self._merge(after, min(upto, self._archived(upto)))
            report(after - start, upto - start)
        self._vacuum()
        self._checkpoint()
        self.result.merged = max(merged, after)
        self.result.freed_bytes = max(0, size - _size(self._reader))
        self.result.complete = not self._pace.is_stopped

    def _archived(self, upto: int) -> int:
        """Archive some more; return up to where may be dropped."""
        if self._options.archive is None:
            return upto
        covered, written = self._options.archive.extend(self._reader, upto)
        self.result.archived += written
        return covered

    def _merge(self, after: int, upto: int) -> int:
        """Merge one stretch; return its end, or where it began if it was stopped."""
        if after >= upto:
            return after
        end = _end_of(self._reader, after, upto, STRETCH)
        victims = sorted(_victims(self._reader, after, end))
        done = 0
        while done < len(victims) and not self._pace.is_stopped:
            part = victims[done : done + self._pace.size]
            done += len(part)
            self._drop(part, end, is_last=done == len(victims))
        if not victims and end == upto:
            self._drop([], end, is_last=True)
        return end if done == len(victims) else after

    def _drop(self, victims: list[Victim], upto: int, *, is_last: bool) -> None:
        archive = self._options.archive

        def drop(transaction: Transaction) -> None:
            transaction.connection.executemany(
                "delete from events where position = ?", [(position,) for position, _ in victims]
            )
            if upto > int(transaction.meta(MERGED) or 0):
                transaction.set_meta(MERGED, str(upto))
            if is_last:
                transaction.set_meta(COMPACTED, str(upto))
            if archive is not None:
                transaction.set_meta(ARCHIVED, str(upto))
                transaction.set_meta(ARCHIVE_PATH, archive.path)

        self._pace.run(drop)
        self.result.dropped += len(victims)
        self.result.dropped_bytes += sum(size for _, size in victims)
        self._changed(len(victims))

    def _vacuum(self) -> None:
        self._pace.size = SIZE_MIN
        while (free := _free_pages(self._reader)) > KEPT_PAGES and not self._pace.is_stopped:
            pages = min(self._pace.size, free - KEPT_PAGES)
            self._pace.run(lambda transaction: vacuum(transaction, pages))  # noqa: B023 - run at once
            self._changed(pages)

    def _changed(self, rows: int) -> None:
        self._unchecked += rows
        if self._unchecked >= CHECKPOINT_ROWS:
            self._checkpoint()

    def _checkpoint(self) -> None:
        self._own.execute("pragma wal_checkpoint(passive)").fetchall()
        self._unchecked = 0


def vacuum(transaction: Transaction, pages: int) -> None:
    """Give so many free pages at the end of the file back."""
    transaction.connection.execute(f"pragma incremental_vacuum({pages:d})").fetchall()


def preview(connection: apsw.Connection, window_us: int, now_us: int) -> Result:
    """Say what a compaction would do.

    Args:
        connection: a reader's.
        window_us: how old an event must be to be merged, microseconds.
        now_us: the time, microseconds since 1970 UTC.

    Returns:
        What would be merged and dropped.
    """
    upto = _end(connection, now_us - window_us)
    merged, after = _progress(connection)
    result = Result(merged=max(upto, merged), complete=True)
    for _, size in _victims(connection, after, upto):
        result.dropped += 1
        result.dropped_bytes += size
    return result


def _victims(connection: apsw.Connection, after: int, upto: int) -> Iterator[Victim]:
    """Look up what the events of a stretch replaced."""
    while after < upto:
        end = _end_of(connection, after, upto, LOOKED_UP)
        yield from fetch(connection, SUPERSEDED, (after, end))
        after = end


def _end_of(connection: apsw.Connection, after: int, upto: int, count: int) -> int:
    """Return where so many events after a position end."""
    found = fetch(connection, END, (after, upto, count - 1))
    end: int = found[0][0] if found else upto
    return end


def _end(connection: apsw.Connection, time_us: int) -> int:
    """Return up to where is to be merged: the window, or what a squash left to be done."""
    return max(history.last_before(connection, time_us), _progress(connection)[0])


def _progress(connection: apsw.Connection) -> tuple[int, int]:
    """Return up to where the history is merged, and up to where this has been carried out."""
    facts = dict(fetch(connection, FACTS))
    return int(facts.get(MERGED, "0")), int(facts.get(COMPACTED, "0"))


def _free_pages(connection: apsw.Connection) -> int:
    return int(fetch(connection, FREE_PAGES)[0][0])


def _size(connection: apsw.Connection) -> int:
    return int(fetch(connection, SIZE)[0][0])
