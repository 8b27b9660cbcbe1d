"""Reads the users of an iSyncServer's scanConfig.json.

The file is a list of objects: `paths`, `users` with `name` and perhaps `password`, and
`mergeRootPaths`, which the program reads as `merge`. See the seed, "Scan data". Whoever is named
beside a path may read and change what is below it. A path must be a root here: rights are given by
root. So `mergeRootPaths` changes nothing: no root lies in another one.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tools.errors import OperatorError


class ImportedUser(msgspec.Struct, frozen=True):
    """A user as the file has it."""

    name: str
    password: str | None = None


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """Some paths and who may use them."""

    paths: list[str] = []
    users: list[ImportedUser] = []
    merge_root_paths: int | bool | None = None
    merge: int | bool | None = None


def actions(
    file: Path, roots: Mapping[str, str], known: Mapping[str, Mapping[str, bool]]
) -> Iterator[dict[str, Any]]:
    """Return what is to be done for the users of a file.

    Args:
        file: the configuration.
        roots: path of each root by name.
        known: by name in lower case, for each user that there is already, the roots and whether
            they may be changed.

    Yields:
        Actions for `tools.library_actions`, with `clear_password` where one is to be hashed.

    Raises:
        OperatorError: the file cannot be used; nothing was yielded.
    """
    passwords: dict[str, str] = {}
    rights: dict[str, dict[str, bool]] = {}
    names: dict[str, str] = {}
    for entry in _read(file):
        found = [_root_of(path, roots, file) for path in entry.paths]
        for user in entry.users:
            key = user.name.casefold()
            names.setdefault(key, user.name)
            rights.setdefault(key, dict(known.get(key, {}))).update(dict.fromkeys(found, True))
            if user.password is not None:
                passwords.setdefault(key, user.password)
    for key, name in names.items():
        if key not in known and key not in passwords:
            raise OperatorError(
                f"{file}: user {name!r} has no password; give one in its first entry"
            )
    for key, name in names.items():
        given = list(rights[key].items())
        if key in known:
            yield {"action": "rights", "name": name, "rights": given}
        else:
            password = passwords[key]
            yield {"action": "add", "name": name, "rights": given, "clear_password": password}


def _read(file: Path) -> list[Entry]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[Entry])
    except OSError as error:
        raise OperatorError(f"{file}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise OperatorError(f"{file}: this is no scan configuration: {error}") from error


def _root_of(path: str, roots: Mapping[str, str], file: Path) -> str:
    wanted = os.path.realpath(Path(path).expanduser())
    for name, root in roots.items():
        top = os.path.realpath(root)
        if top == wanted:
            return name
        if wanted.startswith(top + "/"):
            raise OperatorError(
                f"{file}: {path} lies in the root {name!r}, and rights are of whole roots; write "
                f"{root} there if all of it is meant, or watch that directory instead of the root"
            )
    raise OperatorError(
        f"{file}: {path} is no root of this server; add it to watches, serve it once, and try again"
    )
