"""Downloads: which file, and which bytes of it in which answer."""

import os
import re
import secrets
import stat
from collections.abc import Mapping
from typing import Final, NamedTuple

from api.files.conditions import check_read, etag_of, range_holds
from api.files.dates import format_version
from api.files.ranges import Range, parse_ranges
from api.files.refusal import Refusal
from api.library.call import Place, Reading
from api.library.wire import NOT_FOUND, LibraryError
from api.served import RootUnavailableError
from projections.library_types import mime_of
from projections.media import Row

RawFields = list[tuple[bytes, bytes]]
Part = bytes | Range

_BOUNDARY_BYTES: Final = 16
_SHOWN: Final = re.compile(r"(image|video|audio)/[a-z0-9.+-]+")
_HOSTILE: Final = frozenset({"image/svg+xml"})
_OCTETS: Final = "application/octet-stream"


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


class Download(NamedTuple):
    """An answer to a request for a file.

    Attributes:
        status: of HTTP.
        fields: of the header.
        parts: of the body, in order.
    """

    status: int
    fields: RawFields
    parts: list[Part]


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
        fd = place.beneath.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, RootUnavailableError) as error:
        raise LibraryError(NOT_FOUND, 404) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise LibraryError(NOT_FOUND, 404)
    return fd


def safe_media(kind: str) -> str:
    """Return a MIME type under which a file can be sent without running in this origin."""
    return kind if _SHOWN.fullmatch(kind) and kind not in _HOSTILE else _OCTETS


def plan(fields: Mapping[str, str], opened: Opened) -> Download:
    """Say how to answer.

    Args:
        fields: of the request.
        opened: the file.

    Raises:
        Refusal: a condition does not hold, or no range can be served.
    """
    about = _describe(opened)
    if check_read(fields, opened.etag, opened.modified):
        return Download(304, about, [])
    ranges = None
    if "range" in fields and range_holds(fields, opened.etag, opened.modified):
        ranges = parse_ranges(fields["range"], opened.size)
    if ranges is None:
        return _answer(200, [*about, _type(opened.media)], [Range(0, opened.size)])
    if not ranges:
        told = (("content-range", f"bytes */{opened.size}"),)
        raise Refusal(416, f"the file has only {opened.size} bytes", told)
    if len(ranges) == 1:
        where = (b"content-range", _content_range(ranges[0], opened.size))
        return _answer(206, [*about, _type(opened.media), where], [ranges[0]])
    boundary = secrets.token_hex(_BOUNDARY_BYTES)
    kind = _type(f"multipart/byteranges; boundary={boundary}")
    return _answer(206, [*about, kind], _multipart(ranges, opened, boundary))


def _describe(opened: Opened) -> RawFields:
    is_shown = opened.media != _OCTETS
    name = "".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "_" for c in opened.name)
    way = "inline" if is_shown else "attachment"
    return [
        (b"last-modified", format_version(opened.modified).encode()),
        (b"etag", opened.etag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"private, no-cache"),
        (b"content-disposition", f'{way}; filename="{name}"'.encode()),
        # Whatever people store, no browser may take it for a page of this server.
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]


def _type(kind: str) -> tuple[bytes, bytes]:
    return b"content-type", kind.encode()


def _answer(status: int, fields: RawFields, parts: list[Part]) -> Download:
    length = sum(each.stop - each.start if isinstance(each, Range) else len(each) for each in parts)
    return Download(status, [*fields, (b"content-length", b"%d" % length)], parts)


def _multipart(ranges: list[Range], opened: Opened, boundary: str) -> list[Part]:
    """Lay several ranges out as RFC 9110, 14.6 says."""
    parts: list[Part] = []
    for each in ranges:
        where = _content_range(each, opened.size)
        head = f"\r\n--{boundary}\r\nContent-Type: {opened.media}\r\n".encode()
        parts += [head + b"Content-Range: %b\r\n\r\n" % where, each]
    return [*parts, f"\r\n--{boundary}--\r\n".encode()]


def _content_range(each: Range, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (each.start, each.stop - 1, size)
