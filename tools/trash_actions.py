"""What `nasfeed trash` asks a running server for."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from api.library.call import Service
from api.library.guarding import guarded
from api.library.trash import Trash
from api.library.wire import LibraryError
from eventlog.library import Trashed
from tools.errors import OperatorError

AUTHOR: Final = "command"


class TrashLine(msgspec.Struct, frozen=True):
    """Something in the trash, for a list.

    Attributes:
        number: of it.
        path: where it was: name of the root and path in it.
        user: who deleted it; "" when that user is gone.
        deleted_us: when, microseconds since 1970 UTC.
        size: bytes.
        is_directory: whether it has anything in it.
    """

    number: int
    path: str
    user: str
    deleted_us: int
    size: int
    is_directory: bool


def act(service: Service, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked.

    Args:
        service: what the library is.
        wanted: `action` and perhaps `numbers`.

    Returns:
        The result for the command.

    Raises:
        OperatorError: it cannot be done.
    """
    with service.store.reading() as view:
        everything = dict(view.library.trash())
        users = {number: user.name for number, user in view.library.users()}
    if wanted["action"] == "list":
        lines = [_line(number, each, users) for number, each in everything.items()]
        return {"trash": [msgspec.to_builtins(line) for line in lines]}
    numbers = [int(number) for number in wanted["numbers"]] or list(everything)
    for number in numbers:
        if number not in everything:
            raise OperatorError(f"there is no {number} in the trash; nasfeed trash list")
    last_first = sorted(set(numbers), reverse=True)  # directories before what was in them
    does = _restore if wanted["action"] == "restore" else _remove
    return {"done": [_done(does, service, number, everything[number]) for number in last_first]}


def _done(
    does: Callable[[Service, int, Trashed], str], service: Service, number: int, trashed: Trashed
) -> str:
    try:
        return guarded(does, service, number, trashed)
    except LibraryError as error:
        path = _path(trashed.root, trashed.path)
        raise OperatorError(f"{path}: not done; the server's log says why") from error


def _restore(service: Service, number: int, trashed: Trashed) -> str:
    return _path(trashed.root, Trash(service).restore(number, trashed, AUTHOR))


def _remove(service: Service, number: int, trashed: Trashed) -> str:
    Trash(service).remove(number, trashed, AUTHOR)
    return _path(trashed.root, trashed.path)


def _path(root: str, path: bytes) -> str:
    return f"{root}/{path.decode('utf-8', 'replace')}"


def _line(number: int, trashed: Trashed, users: Mapping[int, str]) -> TrashLine:
    return TrashLine(
        number,
        _path(trashed.root, trashed.path),
        users.get(trashed.user, ""),
        trashed.deleted_us,
        trashed.size,
        trashed.is_directory,
    )
