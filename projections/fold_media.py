"""Folds nodes, notes and media facts into the library's view of the tree.

A function of the last event of each node and entity, whatever the order they come in. Two columns
depend on other rows, `root` and `parent`. They are made after the rows of a batch, from the node
table, which is folded before and says what is so at the end of the batch.
"""

from collections.abc import Collection, Iterable, Sequence
from importlib import resources
from typing import Final, cast

import apsw

from eventlog.bulk import BulkInsert, Row
from eventlog.connection import fetch
from eventlog.events import SUPER_ROOT, Content, Event, Record, Removed, State
from eventlog.library import Ended, FactsFound, Kind, LibraryEvent, Note, NoteChanged
from projections import media_marks
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


def _put(columns: Sequence[str], more: Sequence[str] = ()) -> BulkInsert:
    """Return what stores some columns of rows, and makes the rows that are not there.

    One statement for many: each opens more than twenty indexes, which takes longer than its work.

    Args:
        columns: after the number of the row.
        more: columns of new rows only.
    """
    changed, given = ", ".join(columns), ", ".join(f"excluded.{column}" for column in columns)
    conflict = f"on conflict (number) do update set ({changed}) = ({given})"
    return BulkInsert("media", ("number", *columns, *more), conflict)


def _clear(columns: Sequence[str], key: str) -> str:
    cleared = ", ".join(f"{column} = null" for column in columns)
    return f"update media set {cleared} where {key} = ?"  # noqa: S608 - our own names


PUT_DISK: Final = _put(_DISK, ("root", "parent"))
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
SET_PARENTS: Final = (
    "with shown (number, parent) as (select m.number, case when m.place is not null then coalesce("
    "(select d.number from media d where d.number = m.note_parent"
    " and d.is_catalog and d.place is not null), m.place) end"
    " from json_each(?) asked join media m on m.number = asked.value)"
    " update media set parent = shown.parent from shown"
    " where media.number = shown.number and media.parent is not shown.parent"
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
TAKE_ROOTS: Final = (
    "with above (number, root) as ("
    "select m.number, (select d.root from media d where d.number = m.place)"
    " from json_each(?) asked join media m on m.number = asked.value)"
    " update media set root = above.root from above"
    " where media.number = above.number and media.root is not above.root"
)
ROOTS: Final = (
    "select m.number, m.root from json_each(?) asked join media m on m.number = asked.value"
)


class MediaFold:
    """Keeps the table of `media.sql`; after the fold of the tree."""

    name: str = "media"
    version: int = 7
    schema: str = resources.files("projections").joinpath("media.sql").read_text()
    tables: tuple[str, ...] = ("media", "media_marks", "media_moves")

    def apply(self, connection: apsw.Connection, records: Sequence[Record]) -> None:
        """Fold records, in order of position."""
        last = {record.node: record for record in records}
        nodes: list[Record] = []
        entities: list[Record] = []
        for record in sorted(last.values(), key=lambda record: record.position):
            (entities if isinstance(record.event, LibraryEvent) else nodes).append(record)
        touched = _fold_entities(connection, entities)
        catalogs, files = _fold_nodes(connection, nodes)
        _update(connection, SET_PARENTS, [*catalogs, *files, *touched])
        _update(connection, TAKE_ROOTS, files)
        media_marks.settle(connection)


def _fold_nodes(
    connection: apsw.Connection, records: Iterable[Record]
) -> tuple[list[int], list[int]]:
    """Fold what the disk says; return the numbers of the catalogs and of the files."""
    catalogs: list[Row] = []
    files: list[Row] = []
    gone: list[Row] = []
    for record in records:
        event = cast("Event", record.event)
        if isinstance(event, Removed) or not (event.state.is_file or event.state.is_directory):
            gone.append((record.node,))
        else:
            row = (record.node, *_disk_row(event.state))
            (catalogs if event.state.is_directory else files).append(row)
    PUT_DISK.run(connection, [(*row, None, row[1]) for row in catalogs])
    connection.executemany(CLEAR_DISK, gone)
    connection.executemany(DROP_EMPTY, gone)
    found = _numbers(catalogs), _numbers(files)
    _set_roots(connection, found[0])  # before the files, which take theirs from them
    _put_files(connection, files)
    changed = [*found[0], *_numbers(gone)]
    shown = [row[0] for number in changed for row in fetch(connection, SHOWN_IN, (number,))]
    _update(connection, SET_PARENTS, shown)
    return found


def _put_files(connection: apsw.Connection, rows: Sequence[Row]) -> None:
    """Store files; new ones in their places at once, because to move them would cost as much."""
    places = {cast("int", row[1]) for row in rows}
    roots = dict(fetch(connection, ROOTS, (_json(places),)))
    PUT_DISK.run(connection, [(*row, roots.get(row[1]), row[1]) for row in rows])


def _update(connection: apsw.Connection, statement: str, numbers: Collection[int]) -> None:
    if numbers:  # opening all the indexes takes its time
        connection.execute(statement, (_json(numbers),))


def _json(numbers: Iterable[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def _numbers(rows: Iterable[Row]) -> list[int]:
    return [cast("int", row[0]) for row in rows]


def _disk_row(state: State) -> Row:
    if state.is_directory:
        return (state.parent, 1, None, None, state.mtime_ns // 1000, None, None, None, None)
    kind = int(type_of(state.mime, state.name))
    measures = (state.duration_ms or None, state.width or None, state.height or None)
    content = state.hash if state.content == Content.DONE else None
    return (state.parent, 0, kind, state.size, state.mtime_ns // 1000, *measures, content)


def _fold_entities(connection: apsw.Connection, records: Iterable[Record]) -> list[int]:
    """Fold what people and files say; return the numbers of the nodes that it is about.

    What has ended comes first: what was said of the same node since must stay.
    """
    touched: list[int] = []
    notes: list[Row] = []
    facts: list[Row] = []
    for record in records:
        match record.event:
            case NoteChanged(state=note):
                notes.append(_note_row(record.node, note))
            case FactsFound(state=found):
                measures = (found.duration_ms or None, found.width or None, found.height or None)
                said = (found.node, record.node, found.taken_us, *measures, found.hash)
                facts.append(said)
            case Ended(kind=Kind.NOTE | Kind.FACTS):
                touched += _forget(connection, record.event.kind, record.node)
            case _:
                pass  # it is about no node
    PUT_NOTE.run(connection, notes)
    PUT_FACTS.run(connection, facts)
    return [*touched, *_numbers(notes)]


def _note_row(entity: int, note: Note) -> Row:
    times, sizes = (note.created_us, note.uploaded_us), (note.duration_ms, note.width, note.height)
    return (note.node, entity, note.parent, note.type, *times, *sizes, note.uploader)


def _forget(connection: apsw.Connection, kind: int, entity: int) -> list[int]:
    """Fold the end of what was said; return the nodes that it was said of."""
    found = fetch(connection, NUMBER_OF[Kind(kind)], (entity,))
    connection.execute(CLEAR_NOTE if kind == Kind.NOTE else CLEAR_FACTS, (entity,))
    connection.executemany(DROP_EMPTY, found)
    return [row[0] for row in found]


def _set_roots(connection: apsw.Connection, catalogs: Iterable[int]) -> None:
    """Have every catalog of a batch, and what hangs from it, know its root."""
    for number in catalogs:
        root = next((row[0] for row in fetch(connection, ROOT_OF, (number,))), None)
        if fetch(connection, STORED_ROOT, (number,)) != [(root,)]:
            connection.execute(SET_ROOT, (number, root))
            connection.execute(SET_ROOT_BELOW, (number, root))


assert SUPER_ROOT == 0, "ROOT_OF says so"
