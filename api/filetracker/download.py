"""Sends files: whole, in part, or not at all because the client has them."""

import secrets
from collections.abc import Iterator
from typing import Final, NamedTuple

from api.files.conditions import check_read, range_holds
from api.files.dates import format_version
from api.files.ranges import Range, parse_ranges
from api.files.refusal import Refusal
from api.filetracker.request import Request
from api.filetracker.stored import Stored

RawFields = list[tuple[bytes, bytes]]
Part = bytes | Range
"""What is sent: these bytes, or those of the file."""

_SAFE: Final[RawFields] = [
    # Whatever clients store, no browser may take it for a page of this server.
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
OCTETS: Final = "application/octet-stream"
_OCTETS: Final = OCTETS.encode()


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


def plan(request: Request, stored: Stored) -> Download:
    """Say how to answer.

    Args:
        request: for a file.
        stored: the file.

    Raises:
        Refusal: a condition does not hold, or no range can be served.
    """
    version, etag, size = stored.version, stored.etag, stored.size
    about = describe(version, etag)
    if check_read(request.fields, etag, version):
        return Download(304, about, [])
    about += measures(stored)
    ranges = None
    if "range" in request.fields and range_holds(request.fields, etag, version):
        ranges = parse_ranges(request.fields["range"], size)
    if ranges is None:
        return _answer(200, [*about, (b"content-type", _OCTETS)], [Range(0, size)])
    if not ranges:
        fields = (("content-range", f"bytes */{size}"),)
        raise Refusal(416, f"the file has only {size} bytes", fields)
    if len(ranges) == 1:
        where = (b"content-range", _content_range(ranges[0], size))
        return _answer(206, [*about, (b"content-type", _OCTETS), where], [ranges[0]])
    boundary = secrets.token_hex(16).encode()
    kind = b"multipart/byteranges; boundary=" + boundary
    return _answer(206, [*about, (b"content-type", kind)], _multipart(ranges, size, boundary))


def describe(version: int, etag: str) -> RawFields:
    """Return the fields that every answer about a file has, also one that it is unchanged."""
    return [
        (b"last-modified", format_version(version).encode()),
        (b"etag", etag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"vary", b"accept-encoding"),
        *_SAFE,
    ]


def measures(stored: Stored) -> RawFields:
    """Return the fields that go with the content of a file."""
    found = [
        (b"logical-size", b"%d" % (stored.size if stored.unpacked is None else stored.unpacked))
    ]
    if stored.unpacked is not None:
        found.append((b"content-encoding", b"gzip"))
    if stored.digest is not None:
        found.append((b"sha256-checksum", stored.digest.encode()))
    return found


def _answer(status: int, fields: RawFields, parts: list[Part]) -> Download:
    length = sum(each.stop - each.start if isinstance(each, Range) else len(each) for each in parts)
    return Download(status, [*fields, (b"content-length", b"%d" % length)], parts)


def _multipart(ranges: list[Range], size: int, boundary: bytes) -> list[Part]:
    """Lay several ranges out as RFC 9110, 14.6 says."""
    return [*_multipart_pieces(ranges, size, boundary), b"\r\n--%b--\r\n" % boundary]


def _multipart_pieces(ranges: list[Range], size: int, boundary: bytes) -> Iterator[Part]:
    for each in ranges:
        yield b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % (
            boundary,
            _OCTETS,
            _content_range(each, size),
        )
        yield each


def _content_range(each: Range, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (each.start, each.stop - 1, size)
