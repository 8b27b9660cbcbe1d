"""Downloads: which file, and which bytes of it in which answer."""

import os
import re
import stat
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from api.files import download
from api.files.conditions import etag_of
from api.files.dates import format_version
from api.files.download import OCTETS, Content, Download, RawFields
from api.library.call import Place, Reading
from api.library.wire import NOT_FOUND, LibraryError
from api.served import RootUnavailableError
from projections.library_types import mime_of
from projections.media import Row

_SHOWN: Final = re.compile(r"(image|video|audio)/[a-z0-9.+-]+|text/plain")
_PLAIN: Final = "!#$&+-.^_`|~"
"""What RFC 8187 allows beside letters and digits."""
_HOSTILE: Final = frozenset({"image/svg+xml"})


class Opened(NamedTuple):
    """A file that is open for reading.

    Attributes:
        fd: its descriptor, to be closed by whoever asked.
        size: bytes.
        modified: seconds since 1970.
        etag: a name for exactly these bytes.
        media: its MIME type; what could run in a browser is mere bytes.
        name: to save it under.
    """

    fd: int
    size: int
    modified: int
    etag: str
    media: str
    name: str


def open_file(reading: Reading, row: Row) -> Opened:
    """Open a file for reading.

    Raises:
        LibraryError: it is not there, or is no file any more.
    """
    node = reading.node(row.number)
    place, path = reading.path(row.number)
    fd = open_path(place, path)
    found = os.fstat(fd)
    name = node.state.name.decode("utf-8", "replace")
    kind = safe_media(node.state.mime or mime_of(node.state.name))
    return Opened(fd, found.st_size, int(found.st_mtime), etag_of(found), kind, name)


def open_path(place: Place, path: bytes) -> int:
    """Open a regular file of a root for reading.

    Raises:
        LibraryError: there is none.
    """
    try:
        fd = place.beneath.open_known(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, RootUnavailableError) as error:
        raise LibraryError(NOT_FOUND, 404) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise LibraryError(NOT_FOUND, 404)
    return fd


def safe_media(kind: str) -> str:
    """Return a MIME type under which a file can be sent without running in this origin."""
    return kind if _SHOWN.fullmatch(kind) and kind not in _HOSTILE else OCTETS


def plan(fields: Mapping[str, str], opened: Opened) -> Download:
    """Say how to answer.

    Args:
        fields: of the request.
        opened: the file.

    Raises:
        Refusal: a condition does not hold, or no range can be served.
    """
    content = Content(opened.size, opened.etag, opened.modified, opened.media)
    return download.plan(fields, content, _describe(opened))


def _describe(opened: Opened) -> RawFields:
    is_shown = opened.media != OCTETS
    name = "".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "_" for c in opened.name)
    way = "inline" if is_shown else "attachment"
    return [
        (b"last-modified", format_version(opened.modified).encode()),
        (b"etag", opened.etag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"private, no-cache"),
        (b"content-disposition", f'{way}; filename="{name}"{_in_full(opened.name, name)}'.encode()),
        # Whatever people store, no browser may take it for a page of this server.
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]


def _in_full(name: str, plain: str) -> str:
    """Return what says a name that `filename` cannot say; see RFC 8187."""
    return "" if name == plain else f"; filename*=UTF-8''{quote(name, safe=_PLAIN)}"
