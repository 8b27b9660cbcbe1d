"""What clients are shown of users, catalogs and files; what is not known is left out."""

import os
from collections.abc import Sequence
from typing import TypeVar

from api.library.call import SECOND_US, Reading, Who
from api.library.wire import NOT_FOUND, Json, LibraryError
from eventlog.library import Facts, Help, Note, User
from projections.media import Row

T = TypeVar("T")

_MEASURES = ("id", "type", "size", "duration", "width", "height", "orientation")

NO_PARENT = -1
"""What stands above the roots, as clients ask for it."""


def user_info(number: int, user: User) -> Json:
    """Return a UserInfo."""
    return {
        "id": number,
        "name": user.name,
        "createTime": seconds(user.created_us),
        "lastLoginDate": seconds(user.login_us or None),
        "lastModifyTime": seconds(user.changed_us),
        "helpInt": user.help.number,
        "helpText": user.help.text,
    }


def help_info(found: Help) -> Json:
    """Return a HelpInfo."""
    return {
        "helpInt": found.number,
        "helpText": found.text,
        "lastModifyTime": seconds(found.changed_us or None),
    }


def catalog_info(reading: Reading, row: Row) -> Json:
    """Return a CatalogInfo."""
    note = _note(reading, row.number)
    catalogs, files = reading.media.counts(row.number)
    return {
        "id": row.number,
        "rootId": row.root,
        "parentId": row.parent or NO_PARENT,
        "name": _name(reading, row, note),
        "createTime": seconds(_first(note.created_us, row.mtime_us)),
        "lastModifyTime": seconds(_first(note.modified_us, note.changed_us or None, row.mtime_us)),
        "memo": note.memo,
        "helpInt": note.help.number,
        "helpText": note.help.text,
        "subCatalogCount": catalogs,
        "fileCount": files,
    }


def file_info(reading: Reading, row: Row) -> Json:
    """Return a FileInfo."""
    return file_infos(reading, [row])[0]


def file_infos(reading: Reading, rows: Sequence[Row]) -> list[Json]:
    """Return the FileInfo of each of some files, in few questions to the database."""
    numbers = [row.number for row in rows]
    notes, facts = reading.library.notes(numbers), reading.library.facts_of(numbers)
    nodes = reading.tree.nodes(numbers)
    if nodes.keys() < set(numbers):
        raise LibraryError(NOT_FOUND)
    return [
        _file_info(
            row,
            nodes[row.number].state.name.decode("utf-8", "replace"),
            notes.get(row.number) or Note(row.number),
            facts.get(row.number) or Facts(row.number, b""),
        )
        for row in rows
    ]


def _file_info(row: Row, file_name: str, note: Note, facts: Facts) -> Json:
    duration = _first(note.duration_ms, facts.duration_ms or None, row.duration_ms)
    return {
        "id": row.number,
        "uploadUserId": note.uploader or None,
        "catalogId": row.parent,
        "name": _first(note.name, file_name),
        "ext": _first(note.ext, os.path.splitext(file_name)[1][1:]),  # noqa: PTH122 - no path
        "createTime": seconds(_first(note.created_us, facts.taken_us, row.mtime_us)),
        "uploadTime": seconds(note.uploaded_us),
        "importTime": seconds(note.imported_us),
        "lastModifyTime": seconds(_first(note.modified_us, row.mtime_us)),
        "size": row.size,
        "type": row.type,
        "duration": None if duration is None else duration / 1000,
        "width": _first(note.width, facts.width or None, row.width),
        "height": _first(note.height, facts.height or None, row.height),
        "orientation": _first(note.orientation, facts.orientation),
        "memo": note.memo,
        "helpInt": note.help.number,
        "helpText": note.help.text,
    }


def media_info(reading: Reading, row: Row) -> Json:
    """Return what is known of a picture, a video or sound: by what it says, and what is said."""
    note, found = _note(reading, row.number), reading.library.facts(row.number)
    facts = found[1] if found else Facts(row.number, b"")
    info = file_info(reading, row)
    return {
        **{name: info[name] for name in _MEASURES},
        "captureTime": seconds(facts.taken_us),
        "captureOffset": facts.offset_minutes,
        "longitude": _first(note.longitude, facts.longitude),
        "latitude": _first(note.latitude, facts.latitude),
        "altitude": facts.altitude,
        "make": facts.make or None,
        "model": facts.model or None,
        "pairIds": _pairs(reading, facts),
    }


def _pairs(reading: Reading, facts: Facts) -> str | None:
    """Return the numbers of the files that are one live photo with a file, as ids are written."""
    others = reading.library.paired(facts.pair) if facts.pair else []
    rows = (reading.media.row(other.node) for other in others if other.node != facts.node)
    shown = [row.number for row in rows if row is not None and row.root in reading.roots]
    return ",".join(map(str, shown)) or None


def seconds(time_us: int | None) -> int | float | None:
    """Return a time as clients have it: seconds since 1970, a whole number where it is one."""
    if time_us is None:
        return None
    return time_us // SECOND_US if time_us % SECOND_US == 0 else time_us / SECOND_US


def author(who: Who | None) -> str:
    """Return the name for the log of whoever makes a request."""
    return "library" if who is None else who.author


def _note(reading: Reading, number: int) -> Note:
    found = reading.library.note(number)
    return found[1] if found else Note(number)


def _name(reading: Reading, row: Row, note: Note) -> str:
    if note.name is not None:
        return note.name
    return reading.node(row.number).state.name.decode("utf-8", "replace")


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)
