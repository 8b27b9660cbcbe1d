"""New nodes in columns, for disks full of them: nothing is made of each but what is stored."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import apsw


class Arrivals(NamedTuple):
    """First states of new nodes, in columns of the same length.

    Attributes:
        parents: numbers of the directories that hold them.
        names: raw.
        filesystems: identities of their filesystems.
        inodes: as SQLite holds them, see `projections.fold_tree.signed`.
        contents: `Content`, where something is left to compute; else None.
        records: their events, encoded; see `eventlog.codec.created`.
    """

    parents: Sequence[int]
    names: Sequence[bytes]
    filesystems: Sequence[int]
    inodes: Sequence[int]
    contents: Sequence[int | None]
    records: Sequence[bytes]


@runtime_checkable
class ArrivalFold(Protocol):
    """A fold that takes new nodes in columns. Others get their events, decoded."""

    def arrive(self, connection: apsw.Connection, first: int, arrivals: Arrivals) -> None:
        """Fold new nodes.

        Args:
            connection: the writer's.
            first: number of the first, and the position of its event; the others follow.
            arrivals: what they are.
        """
        ...
