"""Lists the files below a directory, in pieces, however many there are."""

import base64
import os
import stat
from collections.abc import Callable, Generator, Iterator
from typing import Final

import msgspec

from api.beneath.paths import join, split
from api.filetracker.dates import version_of
from api.filetracker.digests import Digests
from api.filetracker.store import Store

PIECE_BYTES: Final = 64 * 1024

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK


class Listed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the list in JSON.

    Attributes:
        path: relative to the directory; what is not UTF-8 in it is replaced.
        version: seconds since 1970.
        size: bytes.
        sha256: digest of the content, hexadecimal, where the server remembers it.
        raw: the path in base64 when it is not UTF-8, else empty.
    """

    path: str
    version: int
    size: int
    sha256: str = ""
    raw: str = ""


Line = Callable[[bytes, os.stat_result], bytes]
"""Makes a line of the relative path of a file and its facts; empty leaves it out."""


def as_text(path: bytes, _: os.stat_result) -> bytes:
    """Write a line of the plain list.

    A name that has a line's end in it would forge another, and clients give up over what is no
    UTF-8: such names are only in the JSON list.
    """
    if b"\n" in path or not _is_utf8(path):
        return b""
    return path + b"\n"


def as_json(digests: Digests) -> Line:
    """Return what writes a line of the JSON list.

    Args:
        digests: those that are remembered; no file is read for a list.
    """

    def line(path: bytes, found: os.stat_result) -> bytes:
        listed = Listed(
            path=path.decode("utf-8", "replace"),
            version=version_of(found),
            size=found.st_size,
            sha256=digests.get(found) or "",
            raw="" if _is_utf8(path) else base64.b64encode(path).decode(),
        )
        return msgspec.json.encode(listed) + b"\n"

    return line


def pieces(store: Store, path: bytes, cutoff: int, line: Line) -> Generator[bytes]:
    """List the regular files below a directory.

    Only one directory is open at a time, and of each on the way down only the names of the
    directories in it are held.

    Args:
        store: where.
        path: of the directory, relative to the root.
        cutoff: only files of this version or an older one, seconds since 1970.
        line: makes a line of a file.

    Yields:
        Some lines at a time.

    Raises:
        OSError: the directory itself cannot be listed; those below it are left out when they are
            gone or may not be read.
    """
    piece = bytearray()
    top = split(path)
    waiting = [top]
    while waiting:
        names = waiting.pop()
        below: list[tuple[bytes, ...]] = []
        try:
            for name, found in _entries(store, join(names)):
                if stat.S_ISDIR(found.st_mode):
                    below.append((*names, name))
                elif stat.S_ISREG(found.st_mode) and version_of(found) <= cutoff:
                    piece += line(join((*names[len(top) :], name)), found)
                if len(piece) >= PIECE_BYTES:
                    yield bytes(piece)
                    piece.clear()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            if names == top:
                raise
        waiting += below
    yield bytes(piece)


def _entries(store: Store, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    with store.beneath.directory(path) as fd, os.scandir(fd) as found:
        for entry in found:
            name = os.fsencode(entry.name)
            if store.hides(path + b"/" + name if path else name):
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield name, facts


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True
