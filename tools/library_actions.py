"""What `nasfeed library` asks for, done by whoever holds the log: a server, or the command."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from eventlog.library import Right, User
from projections import library_users
from projections.library_store import Change, LibraryStore

COMMAND: Final = "library-user"
"""Name of the command to a running server."""

TRASH_COMMAND: Final = "trash"
"""Name of the other one, which `tools.trash_actions` carries out; a server imports that late."""

AUTHOR: Final = "command"


class UserLine(msgspec.Struct, frozen=True):
    """A user for a list.

    Attributes:
        name: of the user.
        rights: roots and whether they may be changed.
        login_us: time of the last login, microseconds since 1970 UTC; 0 for never.
    """

    name: str
    rights: list[tuple[str, bool]]
    login_us: int


class RootLine(msgspec.Struct, frozen=True):
    """A root for a list.

    Attributes:
        name: of the root.
        path: where it is.
    """

    name: str
    path: str


Action = Callable[[LibraryStore, Mapping[str, Any]], dict[str, Any]]


def add(store: LibraryStore, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Make a user; whoever is given no rights may use the root of `default_path`, or none."""
    name, password = str(wanted["name"]), str(wanted["password"])

    def job(change: Change) -> int:
        rights = _rights(wanted["rights"])
        if rights is None:
            rights = _default(library_users.roots(change.tree), wanted.get("default_path"))
        return library_users.add(name, password, rights)(change)

    return _told(store, store.change(job, AUTHOR))


def _default(roots: Sequence[tuple[str, str]], path: str | None) -> list[Right]:
    """Return the rights of whoever is given none.

    Args:
        roots: name and path of each.
        path: of the root for them, as configured; None for none.

    Raises:
        UserError: that is no root.
    """
    if path is None:
        return []
    wanted = os.path.realpath(Path(path).expanduser())
    found = [Right(name, write=True) for name, at in roots if os.path.realpath(at) == wanted]
    if not found:
        raise library_users.UserError(
            f"library.default_user_path: {path} is no root; add it to watches, or give --write ROOT"
        )
    return found


def passwd(store: LibraryStore, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Give a user another password."""
    job = library_users.change_user(str(wanted["name"]), password=str(wanted["password"]))
    return _told(store, store.change(job, AUTHOR))


def rights(store: LibraryStore, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Give a user other rights; none given: none."""
    given = _rights(wanted["rights"]) or []
    job = library_users.change_user(str(wanted["name"]), rights=given)
    return _told(store, store.change(job, AUTHOR))


def remove(store: LibraryStore, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a user."""
    store.change(library_users.remove(str(wanted["name"])), AUTHOR)
    return {"users": []}


def users(store: LibraryStore, _: Mapping[str, Any]) -> dict[str, Any]:
    """List all users."""
    with store.reading() as view:
        return {"users": [_line(user) for _, user in view.library.users()]}


def roots(store: LibraryStore, _: Mapping[str, Any]) -> dict[str, Any]:
    """List all roots."""
    with store.reading() as view:
        return {
            "roots": [
                msgspec.to_builtins(RootLine(*found)) for found in library_users.roots(view.tree)
            ]
        }


ACTIONS: Final[Mapping[str, Action]] = {
    "add": add,
    "passwd": passwd,
    "rights": rights,
    "remove": remove,
    "list": users,
    "roots": roots,
}


def _told(store: LibraryStore, number: int) -> dict[str, Any]:
    with store.reading() as view:
        user = view.library.user(number)
    return {"users": [_line(user)] if user else []}


def _line(user: User) -> dict[str, Any]:
    given = [(right.root, right.write) for right in user.rights]
    line: dict[str, Any] = msgspec.to_builtins(UserLine(user.name, given, user.login_us))
    return line


def _rights(given: object) -> list[Right] | None:
    if given is None:
        return None
    return [Right(root, write) for root, write in msgspec.convert(given, list[tuple[str, bool]])]
