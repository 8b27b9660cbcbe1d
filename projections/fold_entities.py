"""Folds the library's events into the table of entities: a function of the last event of each."""

from collections.abc import Sequence
from importlib import resources
from typing import Final, cast, get_args

import apsw

from eventlog.arrivals import Arrivals
from eventlog.bulk import BulkInsert, Row
from eventlog.events import Record
from eventlog.library import (
    Ended,
    Entity,
    Facts,
    FactsFound,
    Kind,
    LibraryEvent,
    LibraryStated,
    Note,
    NoteChanged,
    Session,
    SessionChanged,
    Share,
    ShareChanged,
    TrashChanged,
    Trashed,
    Upload,
    UploadChanged,
    User,
    UserChanged,
)

KIND_OF: Final[dict[type[LibraryStated], Kind]] = {
    UserChanged: Kind.USER,
    SessionChanged: Kind.SESSION,
    NoteChanged: Kind.NOTE,
    FactsFound: Kind.FACTS,
    ShareChanged: Kind.SHARE,
    UploadChanged: Kind.UPLOAD,
    TrashChanged: Kind.TRASHED,
}

_TYPES: Final = frozenset(get_args(LibraryEvent))
"""Asked of every event of every file: `isinstance` of a union takes ten times as long."""

_PUT: Final = BulkInsert(
    "library_entities",
    ("number", "position", "kind", "about", "key"),
    "on conflict (number) do update set position = excluded.position, about = excluded.about,"
    " key = excluded.key",
)


class EntitiesFold:
    """Keeps the table of `library.sql`."""

    name: str = "library"
    version: int = 3
    schema: str = resources.files("projections").joinpath("library.sql").read_text()
    tables: tuple[str, ...] = ("library_entities",)

    def apply(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Fold records, in order of position."""
        rows = [
            (record.node, record.position, *_row(cast("LibraryEvent", record.event)))
            for record in records
            if record.event.__class__ in _TYPES
        ]
        if rows:
            _PUT.run(connection, rows)

    def arrive(self, connection: apsw.Connection, first: int, arrivals: Arrivals) -> None:
        """Leave new nodes alone; see `eventlog.arrivals.ArrivalFold`."""


def name_key(name: str) -> bytes:
    """Return what a user is found by: names that differ in case only are the same."""
    return name.casefold().encode("utf-8", "surrogatepass")


def _row(event: LibraryEvent) -> Row:
    if isinstance(event, Ended):
        return (event.kind, None, None)
    return (int(KIND_OF[type(event)]), *_found_by(event.state))


def _found_by(state: Entity) -> tuple[int, bytes | None]:
    """Return what an entity is about, and its key."""
    match state:
        case User():
            return 0, name_key(state.name)
        case Session():
            return state.user, state.token
        case Note() | Facts():
            pair = state.pair if isinstance(state, Facts) else ""
            return state.node, pair.encode("utf-8", "replace") or None
        case Share():
            return state.node, state.key
        case Upload():  # of a user as long as it is none of a file
            return state.note.node or state.user, state.key.encode()
        case Trashed():
            return 0, state.key.encode()
