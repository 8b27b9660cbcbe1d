"""The tree as of a snapshot, for positions that the log no longer remembers."""

from collections.abc import Iterable

import apsw

from eventlog import codec
from eventlog.events import Record
from eventlog.history import head
from projections.overlay import Key, Stored
from projections.past_tree import FIRST, PastTree, is_gone, last_event, path_by, target
from projections.snapshot_file import SnapshotFile


class SnapshotTree(PastTree):
    """The tree as of the position of a snapshot.

    Args:
        connection: of the log, in a read transaction: it has the tombstones at hand.
        file: the snapshot.
        exact: whether its position is the one that was asked for.
    """

    def __init__(self, connection: apsw.Connection, file: SnapshotFile, *, exact: bool) -> None:
        super().__init__(file.header.position, exact=exact)
        self._connection = connection
        self._file = file

    def prove(self) -> None:
        """Read the whole file and compare its checksum.

        Raises:
            DamagedSnapshotError: it is damaged.
        """
        self._file.prove()

    def last(self, number: int) -> Stored | None:
        """Do as described above. Costs two frames of the file, and one lookup if it was gone.

        Raises:
            SnapshotError: the file is damaged.
        """
        found = self._file.last(number)
        if found is not None:
            return _stored(found)
        # Nothing follows a tombstone, so it is the node's last event in the log as well.
        newest = last_event(self._connection, number, head(self._connection))
        if newest is None:
            return self._squashed(number)
        gone = is_gone(newest.event) and newest.position <= self.position
        return newest if gone else None

    def children(self, parent: int, after: Key = FIRST, limit: int = 1) -> list[Stored]:
        """Do as described above. Costs a frame of the file, and what the page has more.

        Raises:
            SnapshotError: the file is damaged.
        """
        return _all_stored(self._file.children(parent, after, limit))

    def path(self, stored: Stored) -> bytes | None:
        """Do as described above.

        Raises:
            SnapshotError: the file is damaged.
        """
        return path_by(self.last, stored, lambda root: target(root.event))

    def _squashed(self, number: int) -> Stored | None:
        """Look for a tombstone that a squash dropped from the log, in all those of the file."""
        found = next((r for r in self._file.removed() if r.node == number), None)
        return None if found is None else _stored(found)


def _all_stored(records: Iterable[Record]) -> list[Stored]:
    return [_stored(record) for record in records]


def _stored(record: Record) -> Stored:
    return Stored(record.position, record.node, record.time_us, codec.encode(record.event))
