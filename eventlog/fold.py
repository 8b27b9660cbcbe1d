"""What the log asks of a projection: to fold events in the log's own transactions."""

from collections.abc import Sequence
from typing import Protocol

import apsw

from eventlog.events import Record


class Fold(Protocol):
    """Keeps tables that are a function of the log alone.

    Attributes:
        name: unique, stored.
        version: raised when the meaning of the tables changes: they are then rebuilt.
        schema: SQL that makes the tables.
        tables: their names, to be dropped before a rebuild.
    """

    name: str
    version: int
    schema: str
    tables: tuple[str, ...]

    def apply(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Fold records, which come in order of position, into the tables."""
        ...
