"""Squash: forget everything but what is there now, tombstones included.

Compaction keeps every tombstone, because some client may have a cursor from before the removal. A
squash ends that: it fixes a floor, and a cursor below it is refused (410). It works in small
transactions, in four steps, of which each leaves a log that gives no cursor a wrong answer:

1. The floor-to-be is the head of now, noted in `meta` under `squash`. Then each live node whose
   last event is not above it gets a new event with the same state. For clients these are changes
   like any other: whoever reads meanwhile is told a state again that it knows, or gets it later in
   its drain instead of earlier. Nothing is dropped, so every cursor is still honoured.
2. When no live node is left at or below the floor-to-be, one transaction makes it the floor. From
   its commit on cursors below are refused. That is why the nodes had to move first: a client that
   begins at 0 from now on finds all nodes above the floor, so the cursors in the middle of its
   drain are above it too, and are honoured. One that is in the middle of a drain, with a cursor
   below, is refused and begins again, which is what it must do: it could miss removals later on.
3. Events and tombstones up to the floor are dropped. No cursor that is honoured asks for any:
   one at or above the floor is only told of later positions, and 0 is told of no removals at all.
   A request that was let in before the commit may read its page after it. So a page says which
   floor it was read under, in one read transaction, and the feed looks at that one.
4. A compaction drops what step 1 has made superfluous above the floor.

The same transaction that sets the floor moves `merged` to the head: below that the history is not
complete any more. A kill in step 1 leaves events that do no harm, and the next squash goes on
where it was; after step 2 the next compaction finishes what is left. Node numbers, and so public
ids, stay as they are.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

import apsw
import msgspec

from eventlog import codec
from eventlog.compaction import MERGED, Compactor, Report, no_report
from eventlog.connection import fetch, open_reader, translated_errors
from eventlog.events import Modified
from eventlog.log import Draft, Log, Transaction
from eventlog.pace import Pace
from projections.tree import state_of

SQUASH: Final = "squash"
AUTHOR: Final = "squash"
"""Author of the events that repeat a state; nobody did anything to the file."""

LIVE = (
    "select n.number, n.position, e.record from nodes n join events e on e.position = n.position"
    " where n.position > ? and n.position <= ? and n.parent is not null"
    " order by n.position limit ?"
)
COUNT_LIVE = "select count(*) from nodes where position <= ? and parent is not null"
ANY_LIVE = "select 1 from nodes where position <= ? and parent is not null limit 1"
POSITION = "select position from nodes where number = ?"
LIVE_ENTITIES = (
    "select l.number, l.position, e.record"
    " from library_entities l join events e on e.position = l.position"
    " where l.position > ? and l.position <= ? and l.about is not null"
    " order by l.position limit ?"
)
ANY_LIVE_ENTITY = "select 1 from library_entities where position <= ? and about is not null limit 1"
ENTITY_POSITION = "select position from library_entities where number = ?"
COUNT_TOMBSTONES = "select count(*) from nodes where parent is null"
OLD = "select position from events where position <= ? order by position limit ?"
FLOOR = "select value from meta where key = 'floor'"

Row = tuple[int, int, bytes]


class Squashed(msgspec.Struct):
    """What a squash did.

    Attributes:
        floor: cursors below it are refused.
        nodes: how many live nodes got a new position.
        dropped: how many events went.
        archived: how many events were written to the archive.
        freed_bytes: by how much the database shrank.
        complete: whether all was done; False when it was stopped.
        longest_hold_ms: the longest that the writer was held, milliseconds.
    """

    floor: int = 0
    nodes: int = 0
    dropped: int = 0
    archived: int = 0
    freed_bytes: int = 0
    complete: bool = False
    longest_hold_ms: float = 0.0


def squash(log: Log, compactor: Compactor, pace: Pace, report: Report = no_report) -> Squashed:
    """Squash a log, or go on with a squash that was ended before its time.

    Args:
        log: the open log.
        compactor: of the same log; does the last step, and has the archive.
        pace: runs the steps.
        report: told how many nodes are done, and of how many.

    Returns:
        What was done.

    Raises:
        LogError: something could not be read or stored; what was done before is whole.
    """
    with _working(log, compactor, pace) as work:
        work.all(report)
    return work.result


def finish(log: Log, compactor: Compactor, pace: Pace) -> None:
    """Drop what a squash that was ended before its time has left below the floor.

    Args:
        log: the open log.
        compactor: of the same log.
        pace: runs the steps.

    Raises:
        LogError: something could not be read or stored.
    """
    with _working(log, compactor, pace) as work:
        work.drop_old()


def count_tombstones(connection: apsw.Connection) -> int:
    """Return how many removed nodes the log still tells of."""
    return int(fetch(connection, COUNT_TOMBSTONES)[0][0])


@contextlib.contextmanager
def _working(log: Log, compactor: Compactor, pace: Pace) -> Iterator["_Work"]:
    """Give the work when nobody else works; when the wait for that was stopped, it is stopped."""
    with (
        compactor.alone(pace),
        translated_errors(log.path),
        contextlib.closing(open_reader(log.path)) as reader,
    ):
        yield _Work(log, compactor, pace, reader)


class _Work:
    def __init__(self, log: Log, compactor: Compactor, pace: Pace, reader: apsw.Connection) -> None:
        self.result = Squashed()
        self._log = log
        self._compactor = compactor
        self._pace = pace
        self._reader = reader

    def all(self, report: Report) -> None:
        if self._pace.is_stopped:
            return
        if (archive := self._compactor.options.archive) is not None:
            archive.check(self._reader)  # later, clients would have been told all nodes in vain
        asked = self._log.head
        floor = self._raise_floor(report)
        if floor < asked:  # that was what another squash had left to be done
            self._raise_floor(report)
        self.drop_old()
        if not self._pace.is_stopped:
            self._compact()

    def _raise_floor(self, report: Report) -> int:
        """Bring a squash to its floor, one that was begun before if there is one."""
        floor = self._pace.run(_begin)
        self._compactor.options.before(floor)
        while not self._pace.is_stopped:
            self._repeat_states(floor, report)
            self._repeat_entities(floor)
            if self._archive(floor) and self._pace.run(lambda tx: _set_floor(tx, floor)):
                # After a restore what is honoured begins higher, see `eventlog.epochs`.
                self._log.floor = max(self._log.floor, floor)
                break
        return floor

    def drop_old(self) -> None:
        """Drop all events and tombstones up to the floor."""
        self.result.floor = floor = int(fetch(self._reader, FLOOR)[0][0])
        while not self._pace.is_stopped:
            rows = fetch(self._reader, OLD, (floor, self._pace.size))
            if not rows:
                return
            upto = rows[-1][0]
            self._pace.run(lambda tx: _drop(tx, upto))  # noqa: B023 - run at once
            self.result.dropped += len(rows)

    def _repeat_states(self, floor: int, report: Report) -> None:
        after, total = 0, int(fetch(self._reader, COUNT_LIVE, (floor,))[0][0])
        done = 0
        while not self._pace.is_stopped:
            rows = fetch(self._reader, LIVE, (after, floor, self._pace.size))
            if not rows:
                return
            self.result.nodes += self._pace.run(lambda tx: _repeat(tx, rows))  # noqa: B023 - run at once
            after = rows[-1][1]
            done += len(rows)
            report(done, total)

    def _repeat_entities(self, floor: int) -> None:
        after = 0
        while not self._pace.is_stopped:
            rows = fetch(self._reader, LIVE_ENTITIES, (after, floor, self._pace.size))
            if not rows:
                return
            self._pace.run(lambda tx: _repeat_events(tx, rows))  # noqa: B023 - run at once
            after = rows[-1][1]

    def _archive(self, floor: int) -> bool:
        """Return whether all up to the floor is in the archive, if there is one."""
        archive = self._compactor.options.archive
        while archive is not None and not self._pace.is_stopped:
            covered, written = archive.extend(self._reader, floor)
            self.result.archived += written
            if covered >= floor:
                break
        return not self._pace.is_stopped

    def _compact(self) -> None:
        compacted = self._compactor.run_alone(self._pace, no_report)
        self.result.dropped += compacted.dropped
        self.result.archived += compacted.archived
        self.result.freed_bytes = compacted.freed_bytes
        self.result.complete = compacted.complete
        self.result.longest_hold_ms = round(self._pace.longest_seconds * 1000, 3)


def _begin(transaction: Transaction) -> int:
    """Return the floor-to-be: the head, or that of a squash that did not come to its floor."""
    begun = transaction.meta(SQUASH)
    if begun is None:
        transaction.set_meta(SQUASH, str(transaction.position))
        return transaction.position
    return int(begun)


def _repeat(transaction: Transaction, rows: list[Row]) -> int:
    """Append the states of nodes anew, but of those that have changed since they were read."""
    drafts = [
        Draft(number, Modified(AUTHOR, state_of(codec.decode(record, position))))
        for number, position, record in rows
        if fetch(transaction.connection, POSITION, (number,)) == [(position,)]
    ]
    transaction.append(drafts)
    return len(drafts)


def _repeat_events(transaction: Transaction, rows: list[Row]) -> None:
    """Append the last events of the library's entities anew, as they are: with their authors."""
    transaction.append(
        [
            Draft(number, codec.decode_any(record, position))
            for number, position, record in rows
            if fetch(transaction.connection, ENTITY_POSITION, (number,)) == [(position,)]
        ]
    )


def _set_floor(transaction: Transaction, floor: int) -> bool:
    """Return whether it could be set: no live node or entity is at or below it."""
    if any(fetch(transaction.connection, query, (floor,)) for query in (ANY_LIVE, ANY_LIVE_ENTITY)):
        return False
    transaction.set_meta("floor", str(floor))
    transaction.set_meta(MERGED, str(transaction.position))
    transaction.connection.execute("delete from meta where key = ?", (SQUASH,))
    return True


def _drop(transaction: Transaction, upto: int) -> None:
    """Drop all up to a position, which is not above the floor: there only tombstones are left."""
    transaction.connection.execute("delete from events where position <= ?", (upto,))
    transaction.connection.execute("delete from nodes where position <= ?", (upto,))
    transaction.connection.execute("delete from library_entities where position <= ?", (upto,))
