"""Folds nodes, notes and media facts into the library's view of the tree.

A function of the last event of each node and entity, whatever the order they come in. Two columns
depend on other rows, `root` and `parent`. They are made after the rows of a batch, from the node
table, which is folded before and says what is so at the end of the batch.
"""

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final, cast

import apsw

from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Content, Event, Record, Removed, State
from eventlog.library import Ended, FactsFound, Kind, LibraryEvent, NoteChanged
from projections.library_types import type_of

_DISK: Final = (
    *("place", "is_catalog", "disk_type", "size", "mtime_us"),
    *("disk_duration", "disk_width", "disk_height", "disk_hash"),
)
_NOTE: Final = (
    *("note", "note_parent", "note_type", "note_created", "note_uploaded"),
    *("note_duration", "note_width", "note_height", "uploader"),
)
_FACTS: Final = (
    *("facts", "fact_created", "fact_duration", "fact_width", "fact_height", "fact_hash"),
)

Row = tuple[object, ...]


def _put(columns: Sequence[str]) -> str:
    names = ", ".join(columns)
    values = ", ".join(f"excluded.{column}" for column in columns)
    return (
        f"insert into media (number, {names}) values (?, {', '.join('?' * len(columns))})"  # noqa: S608
        f" on conflict (number) do update set ({names}) = ({values})"
    )


def _clear(columns: Sequence[str], key: str) -> str:
    cleared = ", ".join(f"{column} = null" for column in columns)
    return f"update media set {cleared} where {key} = ?"  # noqa: S608 - our own names


PUT_DISK: Final = _put(_DISK)
PUT_NOTE: Final = _put(_NOTE)
PUT_FACTS: Final = _put(_FACTS)
CLEAR_DISK: Final = _clear((*_DISK, "root", "parent"), "number")
CLEAR_NOTE: Final = _clear(_NOTE, "note")
CLEAR_FACTS: Final = _clear(_FACTS, "facts")
NUMBER_OF: Final = {
    Kind.NOTE: "select number from media where note = ?",
    Kind.FACTS: "select number from media where facts = ?",
}
DROP_EMPTY: Final = (
    "delete from media where number = ? and place is null and note is null and facts is null"
)
SET_PARENT: Final = (
    "update media set parent = case when place is not null then coalesce("
    "(select d.number from media d where d.number = media.note_parent"
    " and d.is_catalog and d.place is not null), place) end"
    " where number = ?"
)
SHOWN_IN: Final = "select number from media where note_parent = ? and note_parent > 0"
ROOT_OF: Final = (
    "with recursive up (number, parent) as ("
    " select number, parent from nodes where number = ? and parent is not null"
    " union"
    " select n.number, n.parent from up join nodes n on n.number = up.parent"
    " where n.parent is not null)"
    " select number from up where parent = 0"
)
STORED_ROOT: Final = "select root from media where number = ?"
SET_ROOT: Final = "update media set root = ?2 where number = ?1"
SET_ROOT_BELOW: Final = (
    "with recursive below (number) as ("
    " select number from nodes where parent = ?1"
    " union"
    " select n.number from below join nodes n on n.parent = below.number)"
    " update media set root = ?2 where number in (select number from below) and place is not null"
)
TAKE_ROOT: Final = (
    "update media set root = (select d.root from media d where d.number = media.place)"
    " where number = ?"
)


class MediaFold:
    """Keeps the table of `media.sql`; after the fold of the tree."""

    name: str = "media"
    version: int = 5
    schema: str = resources.files("projections").joinpath("media.sql").read_text()
    tables: tuple[str, ...] = ("media", "media_counts")

    def apply(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Fold records, in order of position."""
        last = {record.node: record for record in records}
        nodes: list[Record] = []
        entities: list[Record] = []
        for record in sorted(last.values(), key=lambda record: record.position):
            (entities if isinstance(record.event, LibraryEvent) else nodes).append(record)
        touched = _fold_entities(connection, entities)
        catalogs, files = _fold_nodes(connection, nodes)
        for number in (*catalogs, *files, *touched):
            connection.execute(SET_PARENT, (number,))
        _set_roots(connection, catalogs, files)


def _fold_nodes(
    connection: apsw.Connection, records: Iterable[Record]
) -> tuple[list[int], list[int]]:
    """Fold what the disk says; return the numbers of the catalogs and of the files."""
    catalogs: list[int] = []
    files: list[int] = []
    rows: list[Row] = []
    gone: list[tuple[int]] = []
    for record in records:
        event = cast("Event", record.event)
        if isinstance(event, Removed) or not (event.state.is_file or event.state.is_directory):
            gone.append((record.node,))
        else:
            rows.append((record.node, *_disk_row(event.state)))
            (catalogs if event.state.is_directory else files).append(record.node)
    connection.executemany(PUT_DISK, rows)
    connection.executemany(CLEAR_DISK, gone)
    connection.executemany(DROP_EMPTY, gone)
    changed = [*((number,) for number in catalogs), *gone]
    shown = [row for number in changed for row in fetch(connection, SHOWN_IN, number)]
    connection.executemany(SET_PARENT, shown)
    return catalogs, files


def _disk_row(state: State) -> Row:
    if state.is_directory:
        return (state.parent, 1, None, None, state.mtime_ns // 1000, None, None, None, None)
    kind = int(type_of(state.mime, state.name))
    measures = (state.duration_ms or None, state.width or None, state.height or None)
    content = state.hash if state.content == Content.DONE else None
    return (state.parent, 0, kind, state.size, state.mtime_ns // 1000, *measures, content)


def _fold_entities(connection: apsw.Connection, records: Iterable[Record]) -> list[int]:
    """Fold what people and files say; return the numbers of the nodes that it is about."""
    touched: list[int] = []
    for record in records:
        match record.event:
            case NoteChanged(state=note):
                times = (note.created_us, note.uploaded_us)
                sizes = (note.duration_ms, note.width, note.height)
                row = (note.node, record.node, note.parent, note.type, *times, *sizes)
                connection.execute(PUT_NOTE, (*row, note.uploader))
                touched.append(note.node)
            case FactsFound(state=facts):
                measures = (facts.duration_ms or None, facts.width or None, facts.height or None)
                said = (facts.node, record.node, facts.captured_us, *measures, facts.hash)
                connection.execute(PUT_FACTS, said)
            case Ended(kind=Kind.NOTE | Kind.FACTS):
                touched += _forget(connection, record.event.kind, record.node)
            case _:
                pass  # it is about no node
    return touched


def _forget(connection: apsw.Connection, kind: int, entity: int) -> list[int]:
    """Fold the end of what was said; return the nodes that it was said of."""
    found = fetch(connection, NUMBER_OF[Kind(kind)], (entity,))
    connection.execute(CLEAR_NOTE if kind == Kind.NOTE else CLEAR_FACTS, (entity,))
    connection.executemany(DROP_EMPTY, found)
    return [row[0] for row in found]


def _set_roots(connection: apsw.Connection, catalogs: list[int], files: list[int]) -> None:
    """Have every node of a batch, and what hangs from it, know its root."""
    for number in catalogs:
        root = next((row[0] for row in fetch(connection, ROOT_OF, (number,))), None)
        if fetch(connection, STORED_ROOT, (number,)) != [(root,)]:
            connection.execute(SET_ROOT, (number, root))
            connection.execute(SET_ROOT_BELOW, (number, root))
    connection.executemany(TAKE_ROOT, [(number,) for number in files])


assert SUPER_ROOT == 0, "ROOT_OF says so"
