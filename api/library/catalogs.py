"""Catalogs: the directories of the roots, as people call and arrange them."""

import os
from collections.abc import Sequence
from typing import Final

import msgspec

from api.library.accounts import changed_help
from api.library.call import Call, Place, Reading, Reply
from api.library.names import free_name
from api.library.notes import changed_note, check_parent
from api.library.parameters import MEMO_MAX, NAME_MAX
from api.library.removal import Removal
from api.library.shown import NO_PARENT, catalog_info
from api.library.targets import Target, at
from api.library.wire import (
    BAD_CATALOG,
    BAD_PARAMETER,
    DATABASE,
    NO_RIGHT,
    NOT_CHANGED,
    NOT_FOUND,
    Json,
    LibraryError,
)
from api.served import Touched
from eventlog.library import Note
from projections import library_paths, media
from projections.library_store import Change

_FIELDS: Final = ("parentId", "name", "memo", "helpInt", "helpText")


def catalogs(call: Call) -> Reply:
    """Answer `catalogs.icc`."""
    wanted = call.parameters.needed_ids("pids")
    with call.reading() as reading:
        numbers: list[int] = []
        for parent in wanted:
            if parent == NO_PARENT:
                numbers += reading.roots
            else:
                numbers += reading.media.catalogs(reading.catalog(parent).number)
        rows = (reading.media.row(number) for number in numbers)
        shown = [row for row in rows if row is not None and row.root in reading.roots]
        return Reply([catalog_info(reading, row) for row in shown])


def create(call: Call) -> Reply:
    """Answer `createCatalog.icc`: make a directory."""
    parameters = call.parameters
    name = _name(parameters.text("name", NAME_MAX))
    note = Note(
        0,
        created_us=parameters.optional_time("createTime"),
        modified_us=parameters.optional_time("lastModifyTime"),
        memo=parameters.optional_text("memo", MEMO_MAX),
    )
    note = msgspec.structs.replace(
        note, help=changed_help(note.help, parameters, call.service.now_us)
    )
    who, parent = call.known, _parent(call)

    def work(above: Target) -> tuple[Place, bytes]:
        return above.place, make_directory(above, name, who.author)

    place, path = at(call.service, who, parent, work)
    if path.rpartition(b"/")[2] != name.encode():
        note = msgspec.structs.replace(note, name=name)
    number = call.service.store.change(
        lambda change: _note_path(change, place, path, note), call.known.author
    )
    with call.reading() as reading:
        return Reply(catalog_info(reading, reading.catalog(number)))


def update(call: Call) -> Reply:
    """Answer `updateCatalog.icc`: say something of a catalog, or show it elsewhere."""
    parameters, number = call.parameters, call.parameters.integer("id")
    if not any(name in parameters for name in _FIELDS):
        raise LibraryError(NOT_CHANGED)
    with call.reading() as reading:
        row = reading.catalog(number, write=True)
        given: Json = {}
        if "parentId" in parameters:
            given["parent"] = new_parent(reading, row, parameters.integer("parentId"))
    if "name" in parameters:
        given["name"] = _name(parameters.text("name", NAME_MAX))
    changed_note(call, number, given)
    with call.reading() as reading:
        return Reply(catalog_info(reading, reading.catalog(number)))


def delete(call: Call) -> Reply:
    """Answer `deleteCatalog.icc`: put directories, and what is shown in them, into the trash.

    One that is in another of them goes with that.
    """
    numbers = call.parameters.needed_ids("ids")
    with call.reading() as reading:
        rows = [reading.catalog(number, write=True) for number in numbers]
        if any(row.number == row.root for row in rows):
            raise LibraryError(NO_RIGHT)
        above = {n: {up for up, _ in reading.tree.chain(n)} - {n} for n in numbers}
    for number in (n for n in numbers if not above[n].intersection(numbers)):
        Removal(call.service, call.known).remove(number)
    return Reply("OK")


def new_parent(reading: Reading, row: media.Row, parent: int) -> int:
    """Return where something is to be shown, as a note says it: 0 for where it is.

    Raises:
        LibraryError: it cannot be shown there.
    """
    try:
        target = reading.catalog(parent, write=True)
    except LibraryError as error:
        raise LibraryError(BAD_CATALOG if error.code == NOT_FOUND else error.code) from error
    if target.root != row.root or row.number == row.root:
        raise LibraryError(BAD_CATALOG)
    check_parent(reading.media, row.number, parent)
    return 0 if parent == row.place else parent


def make_directory(above: Target, name: str, author: str) -> bytes:
    """Make a directory in one, under a name that is safe and not taken; return its path.

    Raises:
        StaleError: the directory that it is to be in is not there any more.
    """
    made, place = b"", above.place

    def act() -> Sequence[Touched]:
        nonlocal made
        with place.beneath.pinned():
            above.check()
            with place.beneath.directory(above.path) as fd:
                taken = {os.fsencode(each) for each in os.listdir(fd)}  # noqa: PTH208 - of a descriptor
                hides = lambda each: place.root.hides(_join(above.path, each))  # noqa: E731 - of this place
                made = _join(above.path, free_name(name, "catalog", taken, hides))
                place.beneath.make_directories(made)
        return [(made, "changed")]

    place.root.perform(act, (above.path,) if above.path else (), author)
    return made


def _parent(call: Call) -> int:
    """Return the number of the catalog that a new one is to be in."""
    number = call.parameters.integer("parentId")
    with call.reading() as reading:
        try:
            return reading.catalog(number, write=True).number
        except LibraryError as error:
            raise LibraryError(BAD_CATALOG if error.code == NOT_FOUND else error.code) from error


def _note_path(change: Change, place: Place, path: bytes, note: Note) -> int:
    """Say something of the node at a path; return its number."""
    number = library_paths.number_at(change.tree, place.name, path)
    if number is None:
        raise LibraryError(DATABASE)
    if note != Note(0):
        said = msgspec.structs.replace(note, node=number, changed_us=change.now_us)
        change.put(said, (change.library.note(number) or (0,))[0])
    return number


def _name(text: str) -> str:
    if not text.strip():
        raise LibraryError(BAD_PARAMETER)
    return text


def _join(above: bytes, name: bytes) -> bytes:
    return b"%b/%b" % (above, name) if above else name
