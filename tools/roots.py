"""The directories that are served, as the operator names them: NAME=DIR or DIR."""

import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tools.errors import OperatorError
from tools.text import printable

_SLUG_MAX = 40


class Root(NamedTuple):
    """A directory that is watched.

    Attributes:
        name: what the feed calls it, unique.
        path: where it is: absolute, links not resolved, so that clients see the path they know.
    """

    name: str
    path: str


def from_arguments(arguments: Sequence[str]) -> tuple[Root, ...]:
    """Read `NAME=DIR` or `DIR` from a command line.

    Raises:
        OperatorError: a name is unfit or there twice, a directory lies in another, or is none.
    """
    return checked(map(_from_argument, arguments))


def from_mapping(watches: dict[str, str]) -> tuple[Root, ...]:
    """Read the names and directories of a configuration file.

    Raises:
        OperatorError: as `from_arguments`, or a path is relative.
    """
    for name, path in watches.items():
        if path and not path.startswith(("/", "~")):
            # Below which directory would it be? A service has none that its operator knows of.
            raise OperatorError(f"{name}: {path!r} is relative; give a path that begins with /")
    return checked(Root(name, _absolute(path, name)) for name, path in watches.items())


def checked(roots: Iterable[Root]) -> tuple[Root, ...]:
    """Return the roots if they can be served together.

    Nothing asks whether they exist: a disk that is not there now may have been yesterday.

    Raises:
        OperatorError: see `from_arguments`.
    """
    found = tuple(roots)
    for root in found:
        _check_name(root)
        _check_kind(root)
    for one, other in itertools.combinations(found, 2):
        _check_pair(one, other)
    return found


def state_directory_name(roots: Sequence[Root]) -> str:
    """Return a name for what belongs to these roots: readable, and unique by their real paths."""
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", "-".join(root.name for root in roots))
    paths = sorted(os.fsencode(os.path.realpath(root.path)) for root in roots)
    digest = hashlib.sha256(b"\0".join(paths)).hexdigest()
    return f"{slug[:_SLUG_MAX].strip('-.') or 'roots'}-{digest[:8]}"


def _from_argument(argument: str) -> Root:
    """A slash before the first equals sign says that it belongs to the path: `./a=b`."""
    name, equals, path = argument.partition("=")
    if equals and "/" not in name:
        return Root(name, _absolute(path, argument))
    path = _absolute(argument, argument)
    return Root(Path(path).name or "root", path)


def _absolute(path: str, where: str) -> str:
    """Make a path absolute; only one with `..` is resolved, because that depends on links."""
    if not path or "\0" in path:
        raise OperatorError(f"{where!r}: give a directory, as DIR or NAME=DIR")
    absolute = Path(path).expanduser().absolute()
    return os.path.realpath(absolute) if ".." in absolute.parts else str(absolute)


def _check_name(root: Root) -> None:
    name = root.name
    if not name or name in {".", ".."} or "/" in name or "\0" in name:
        raise OperatorError(f"{root.path}: {name!r} cannot be the name of a root; use NAME=DIR")
    if printable(name) != name:
        # Surrogates, which stand for bytes that are not UTF-8, are not printable either.
        raise OperatorError(f"{root.path!a}: its name is no plain text; give one with NAME=DIR")


def _check_kind(root: Root) -> None:
    try:
        mode = Path(root.path).stat().st_mode
    except OSError:
        return  # absent, or not to be looked at now: that may be otherwise tomorrow
    if not stat.S_ISDIR(mode):
        raise OperatorError(f"{root.path}: this is no directory; give the one that it is in")


def _check_pair(one: Root, other: Root) -> None:
    if one.name == other.name:
        raise OperatorError(
            f"{one.path} and {other.path} are both called {one.name!r}; name one with NAME=DIR"
        )
    first, second = Path(os.path.realpath(one.path)), Path(os.path.realpath(other.path))
    if first == second or _same_directory(first, second):
        raise OperatorError(f"{one.path} and {other.path} are the same directory; give it once")
    if first in second.parents or second in first.parents:
        raise OperatorError(
            f"{one.path} and {other.path}: one lies in the other; give only the outer one"
        )


def _same_directory(first: Path, second: Path) -> bool:
    """A bind mount shows one directory under two real paths."""
    try:
        return first.samefile(second)
    except OSError:
        return False
