"""What people say of a catalog or a file, read from parameters."""

from collections.abc import Container
from typing import Any, Final

import msgspec

from api.library.accounts import changed_help
from api.library.call import Call
from api.library.parameters import EXT_MAX, MEMO_MAX, Parameters
from api.library.wire import BAD_CATALOG, BAD_PARAMETER, NOT_CHANGED, LibraryError
from eventlog.library import Note
from projections.library_store import Change, Media
from projections.library_types import FileType

_TIMES: Final = {
    "createTime": "created_us",
    "importTime": "imported_us",
    "lastModifyTime": "modified_us",
}
BY_SERVER, FAILED, AWAITED, UPLOADED = range(4)
"""Statuses of a thumbnail: who makes it."""

_CHOICES: Final = (
    ("type", "type", tuple(FileType)),
    ("orientation", "orientation", range(9)),
    ("statusForThumb", "thumb", (BY_SERVER, AWAITED)),
    ("statusForScreen", "screen", (BY_SERVER, AWAITED)),
)
_NUMBERS: Final = (
    ("duration", 0, 10**9, 1000),
    ("width", 0, 2**31 - 1, 1),
    ("height", 0, 2**31 - 1, 1),
    ("longitude", -180, 180, 0),
    ("latitude", -90, 90, 0),
)
"""Name, limits, and by what it is multiplied to be stored as a whole number; 0: it is not."""

_NAMES: Final = {"duration": "duration_ms"}


def changed_note(call: Call, node: int, given: dict[str, Any]) -> None:
    """Store what a request says of a catalog or file.

    Args:
        call: the request; memo and help are read from it.
        node: number of the catalog or file.
        given: fields of the note that were read already.

    Raises:
        LibraryError: nothing would be another.
    """
    if "memo" in call.parameters:
        given["memo"] = call.parameters.optional_text("memo", MEMO_MAX)

    def job(change: Change) -> None:
        number, before = change.library.note(node) or (0, Note(node))
        note = msgspec.structs.replace(
            before, **given, help=changed_help(before.help, call.parameters, before.help.changed_us)
        )
        if note == before:
            raise LibraryError(NOT_CHANGED)
        if "parent" in given:  # another request may have changed where something is shown
            check_parent(change.media, node, note.parent)
        now = change.now_us
        if note.help != before.help:
            note = msgspec.structs.replace(
                note, help=msgspec.structs.replace(note.help, changed_us=now)
            )
        change.put(msgspec.structs.replace(note, changed_us=now), number)

    call.service.store.change(job, call.known.author)


def check_parent(media: Media, node: int, parent: int) -> None:
    """Refuse to show a catalog in one that is shown below it, or nowhere.

    Args:
        media: the library's view of the files.
        node: number of what is to be shown.
        parent: of the catalog that it is to be shown in; 0 for the one that it is in.

    Raises:
        LibraryError: it cannot be shown there.
    """
    row = media.row(node)
    above = media.above(parent or row.place) if row else ()
    if row is None or node in above or row.root not in above:
        raise LibraryError(BAD_CATALOG)


def file_fields(parameters: Parameters) -> dict[str, Any]:
    """Return what a request says of a file, as fields of its note.

    Raises:
        LibraryError: something cannot be so.
    """
    given: dict[str, Any] = {
        field: parameters.optional_time(name)
        for name, field in _TIMES.items()
        if name in parameters
    }
    for name, field, allowed in _CHOICES:
        if name in parameters:
            given[field] = _one_of(parameters.integer(name), allowed)
    for name, low, high, factor in _NUMBERS:
        if name in parameters:
            value = _within(parameters.optional_number(name), low, high)
            given[_NAMES.get(name, name)] = round(value * factor) if factor else value
    if "ext" in parameters:
        given["ext"] = parameters.text("ext", EXT_MAX)
    return given


def _one_of(value: int, allowed: Container[int]) -> int:
    if value not in allowed:
        raise LibraryError(BAD_PARAMETER)
    return value


def _within(value: float | None, low: float, high: float) -> float:
    if value is None or not low <= value <= high:
        raise LibraryError(BAD_PARAMETER)
    return value
