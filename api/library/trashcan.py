"""The trash by HTTP: what lies there, and putting it back."""

from typing import Final

from api.library.call import Call, Reading, Reply
from api.library.shown import seconds
from api.library.trash import Trash
from api.library.wire import DELETE_FAILED, NOT_FOUND, Json, LibraryError
from eventlog.library import Trashed

EVERYTHING: Final = -1
"""As an id: whatever there is."""


def listed(call: Call) -> Reply:
    """Answer `trash.icc`: all that the user may see, the newest first."""
    with call.reading() as reading:
        found = [
            _shown(reading, number, trashed)
            for number, trashed in reversed(reading.library.trash())
            if trashed.root in reading.roots.values()
        ]
    return Reply(found)


def restore(call: Call) -> Reply:
    """Answer `restoreTrash.icc`."""
    for number, trashed in _wanted(call):
        Trash(call.service).restore(number, trashed, call.known.author)
    return Reply("OK")


def empty(call: Call) -> Reply:
    """Answer `emptyTrash.icc`: remove for good; with the id -1, all that the user may remove."""
    for number, trashed in _wanted(call):
        try:
            Trash(call.service).remove(number, trashed, call.known.author)
        except OSError as error:
            raise LibraryError(DELETE_FAILED) from error
    return Reply("OK")


def _wanted(call: Call) -> list[tuple[int, Trashed]]:
    """Return what a request is about, all of which the user may change; the last deleted first.

    So a directory is back before what was deleted in it earlier.
    """
    numbers = call.parameters.needed_ids("ids")
    with call.reading() as reading:
        if numbers == [EVERYTHING]:
            found = reading.library.trash()
            return [each for each in reversed(found) if reading.may_write(each[1].root)]
        return [(number, _known(reading, number)) for number in sorted(numbers, reverse=True)]


def _known(reading: Reading, number: int) -> Trashed:
    trashed = reading.library.trashed(number)
    roots = {name: root for root, name in reading.roots.items()}
    if trashed is None or trashed.root not in roots:
        raise LibraryError(NOT_FOUND)
    reading.check_write(roots[trashed.root])
    return trashed


def _shown(reading: Reading, number: int, trashed: Trashed) -> Json:
    user = reading.library.user(trashed.user)
    return {
        "id": number,
        "fileId": trashed.node,
        "root": trashed.root,
        "path": trashed.path.decode("utf-8", "replace"),
        "deleteTime": seconds(trashed.deleted_us),
        "deleteUser": user.name if user else None,
        "size": trashed.size,
        "isCatalog": trashed.is_directory,
    }
