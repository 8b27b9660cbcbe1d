"""Files of the library: lists in pages, what is said of them, and deleting them."""

from typing import Final

from api.library import shown
from api.library.call import Call, Reading, Reply
from api.library.catalogs import new_parent
from api.library.notes import changed_note, file_fields
from api.library.parameters import FILE_NAME_MAX
from api.library.shown import NO_PARENT, file_info, file_infos
from api.library.trash import Trash
from api.library.wire import BAD_PARAMETER, NOT_CHANGED, Json, LibraryError
from projections.library_types import FileType
from projections.media_lists import SORTS
from projections.media_pages import Wanted

PAGE_MIN, PAGE_DEFAULT, PAGE_MAX = 10, 100, 10_000

ALL_TYPES: Final = tuple(map(int, FileType))

_FIELDS: Final = (
    *("catalogId", "name", "type", "ext", "statusForThumb", "statusForScreen", "createTime"),
    *("importTime", "lastModifyTime", "duration", "longitude", "latitude", "width", "height"),
    *("orientation", "memo", "helpInt", "helpText"),
)


def files(call: Call) -> Reply:
    """Answer `files.icc`: a page of files in an order."""
    parameters = call.parameters
    index = parameters.integer("pageIndex")
    if index < 0:
        raise LibraryError(BAD_PARAMETER)
    limit = parameters.optional_integer("maxPerPage")
    limit = limit if limit is not None and PAGE_MIN <= limit <= PAGE_MAX else PAGE_DEFAULT
    sort = parameters.optional_integer("sort") or 0
    if sort and abs(sort) not in SORTS:
        return Reply({"list": []})  # as the original: and no page
    with call.reading() as reading:
        wanted = _wanted(call, reading, sort)
        listing = reading.media.files(wanted)
        total, numbers = listing.count, listing.page(index * limit, limit)
        found = file_infos(reading, reading.media.rows(numbers))
    page = {"pageIndex": index, "maxPerPage": limit, "pageCount": -(-total // limit)}
    return Reply({"list": found, "page": page})


def media_info(call: Call) -> Reply:
    """Answer `mediaInfo.icc`, our own: what files.icc has no room for, by the file's `id`."""
    with call.reading() as reading:
        return Reply(shown.media_info(reading, reading.file(call.parameters.integer("id"))))


def update(call: Call) -> Reply:
    """Answer `updateFile.icc`: say something of a file, or show it elsewhere."""
    parameters, number = call.parameters, call.parameters.integer("id")
    if not any(name in parameters for name in _FIELDS):
        raise LibraryError(NOT_CHANGED)
    given: Json = file_fields(parameters)
    if "name" in parameters:
        given["name"] = file_name(parameters.text("name", FILE_NAME_MAX))
    with call.reading() as reading:
        row = reading.file(number, write=True)
        if "catalogId" in parameters:
            given["parent"] = new_parent(reading, row, parameters.integer("catalogId"))
        if "duration" in parameters and row.type not in (FileType.GIF, FileType.VIDEO):
            del given["duration_ms"]  # the seed: only effective for these
    changed_note(call, row.number, given)
    with call.reading() as reading:
        return Reply(file_info(reading, reading.file(row.number)))


def delete(call: Call) -> Reply:
    """Answer `deleteFiles.icc`: put files into the trash."""
    numbers = call.parameters.needed_ids("ids")
    with call.reading() as reading:
        rows = [reading.file(number, write=True) for number in numbers]
    for number in dict.fromkeys(row.number for row in rows):
        Trash(call.service).put(call.known, number)
    return Reply("OK")


def file_name(text: str) -> str:
    """Return the name of a file as it is to be shown.

    Raises:
        LibraryError: it is empty.
    """
    if not text.strip():
        raise LibraryError(BAD_PARAMETER)
    return text


def _wanted(call: Call, reading: Reading, sort: int) -> Wanted:
    parameters = call.parameters
    roots = tuple(reading.roots)
    given = parameters.ids("rootIds")
    if given is not None and NO_PARENT not in given:
        roots = tuple(number for number in given if number in reading.roots)
    catalogs = parameters.ids("pids")
    types = parameters.ids("types")
    is_own = bool(parameters.optional_integer("onlySelfUpload"))
    return Wanted(
        roots=roots,
        catalogs=None if catalogs is None or NO_PARENT in catalogs else tuple(catalogs),
        types=ALL_TYPES if types is None else tuple(t for t in ALL_TYPES if t in types),
        uploader=call.known.number if is_own else 0,
        sort=sort,
    )
