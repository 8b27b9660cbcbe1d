"""Lists the files below a directory, in pieces, however many there are."""

import base64
import contextlib
import os
import stat
from collections.abc import Callable, Generator
from typing import Final, NamedTuple

import msgspec

from api.beneath.paths import BadPathError
from api.files.dates import version_of
from api.filetracker.digests import Digests
from api.filetracker.marks import marked
from api.filetracker.store import Store

PIECE_BYTES: Final = 64 * 1024

OPEN_MAX: Final = 8
"""Levels of directories that are open at a time; of lower ones, the names are held."""


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the list in JSON.

    Attributes:
        path: relative to the directory; what is not UTF-8 in it is replaced.
        version: seconds since 1970.
        size: bytes.
        sha256: digest of the content, hexadecimal, where the server stored it.
        raw: the path in base64 when it is not UTF-8, else empty.
    """

    path: str
    version: int
    size: int
    sha256: str = ""
    raw: str = ""


class Found(NamedTuple):
    """A file while its directory is gone through.

    Attributes:
        path: relative to the directory that is listed.
        facts: what `lstat` says of it.
        directory: descriptor of the directory that it is in.
        name: in it.
    """

    path: bytes
    facts: os.stat_result
    directory: int
    name: bytes


Line = Callable[[Found], bytes]
"""Makes a line of a file; empty leaves it out."""


def as_text(found: Found) -> bytes:
    """Write a line of the plain list.

    A name that has a line's end in it would forge another, and clients give up over what is no
    UTF-8: such names are only in the JSON list.
    """
    if b"\n" in found.path or not _is_utf8(found.path):
        return b""
    return found.path + b"\n"


def as_json(digests: Digests) -> Line:
    """Return what writes a line of the JSON list.

    Args:
        digests: those that are remembered; of other files, the one that they carry is told. No
            file is read for a list.
    """

    def line(found: Found) -> bytes:
        path, facts = found.path, found.facts
        listed = Listed(
            path=path.decode("utf-8", "replace"),
            version=version_of(facts),
            size=facts.st_size,
            sha256=digests.get(facts) or marked(found.directory, found.name, facts),
            raw="" if _is_utf8(path) else base64.b64encode(path).decode(),
        )
        return msgspec.json.encode(listed) + b"\n"

    return line


def pieces(store: Store, path: bytes, cutoff: int, line: Line) -> Generator[bytes]:
    """List the regular files below a directory.

    Memory does not grow with their number, nor with that of the directories on the upper levels.

    Args:
        store: where.
        path: of the directory, relative to the root.
        cutoff: only files of this version or an older one, seconds since 1970.
        line: makes a line of a file.

    Yields:
        Some lines at a time.

    Raises:
        OSError: the directory itself cannot be listed; those below it are left out when they are
            gone, may not be read, or are too deep to be named.
    """
    piece = bytearray()
    with contextlib.closing(_all(store, path)) as files:
        for found in files:
            if version_of(found.facts) <= cutoff:
                piece += line(found)
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    yield bytes(piece)


def _all(store: Store, top: bytes) -> Generator[Found]:
    deeper: list[bytes] = []
    yield from _below(store, top, b"", 1, deeper)
    while deeper:
        yield from _quietly(_below(store, top, deeper.pop(), 1, deeper))


def _below(
    store: Store, top: bytes, path: bytes, level: int, deeper: list[bytes]
) -> Generator[Found]:
    """Yield the files below a path of the directory; those of very low ones are for later."""
    with store.beneath.directory(_joined(top, path)) as fd, os.scandir(fd) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            below = _joined(path, name)
            if store.hides(_joined(top, below)):
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield Found(below, facts, fd, name)
            elif stat.S_ISDIR(facts.st_mode) and level == OPEN_MAX:
                deeper.append(below)
            elif stat.S_ISDIR(facts.st_mode):
                yield from _quietly(_below(store, top, below, level + 1, deeper))


def _quietly(files: Generator[Found]) -> Generator[Found]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError, BadPathError):
        yield from files


def _joined(above: bytes, name: bytes) -> bytes:
    return b"%b/%b" % (above, name) if above and name else above or name


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
