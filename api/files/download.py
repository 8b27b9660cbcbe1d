"""Which bytes of a file, in which answer: whole, in part, or none because the client has them."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from api.files.conditions import check_read, range_holds
from api.files.ranges import Range, parse_ranges
from api.files.refusal import Refusal

OCTETS: Final = "application/octet-stream"

_BOUNDARY_BYTES: Final = 16

RawFields = list[tuple[bytes, bytes]]
Part = bytes | Range
"""What is sent: these bytes, or those of the file."""


class Content(NamedTuple):
    """What can be sent.

    Attributes:
        size: bytes.
        etag: a name for exactly these bytes.
        version: when they were changed last, seconds since 1970 UTC.
        media: their MIME type.
    """

    size: int
    etag: str
    version: int
    media: str


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


def plan(
    fields: Mapping[str, str],
    content: Content,
    about: RawFields,
    measures: Sequence[tuple[bytes, bytes]] = (),
) -> Download:
    """Say how to answer (RFC 9110, 13 and 14).

    Args:
        fields: of the request.
        content: of the file.
        about: fields that every answer has.
        measures: those that go with the content only.

    Raises:
        Refusal: a condition does not hold, or no range can be served.
    """
    if check_read(fields, content.etag, content.version):
        return Download(304, about, [])
    about = [*about, *measures]
    ranges = None
    if "range" in fields and range_holds(fields, content.etag, content.version):
        ranges = parse_ranges(fields["range"], content.size)
    if ranges is None:
        return _answer(200, [*about, _type(content.media)], [Range(0, content.size)])
    if not ranges:
        told = (("content-range", f"bytes */{content.size}"),)
        raise Refusal(416, f"the file has only {content.size} bytes", told)
    if len(ranges) == 1:
        where = (b"content-range", _content_range(ranges[0], content.size))
        return _answer(206, [*about, _type(content.media), where], [ranges[0]])
    boundary = secrets.token_hex(_BOUNDARY_BYTES)
    kind = _type(f"multipart/byteranges; boundary={boundary}")
    return _answer(206, [*about, kind], list(_multipart(ranges, content, boundary.encode())))


def _type(kind: str) -> tuple[bytes, bytes]:
    return b"content-type", kind.encode()


def _answer(status: int, fields: RawFields, parts: list[Part]) -> Download:
    length = sum(each.stop - each.start if isinstance(each, Range) else len(each) for each in parts)
    return Download(status, [*fields, (b"content-length", b"%d" % length)], parts)


def _multipart(ranges: list[Range], content: Content, boundary: bytes) -> Iterator[Part]:
    """Lay several ranges out as RFC 9110, 14.6 says."""
    for each in ranges:
        yield b"\r\n--%b\r\nContent-Type: %b\r\nContent-Range: %b\r\n\r\n" % (
            boundary,
            content.media.encode(),
            _content_range(each, content.size),
        )
        yield each
    yield b"\r\n--%b--\r\n" % boundary


def _content_range(each: Range, size: int) -> bytes:
    return b"bytes %d-%d/%d" % (each.start, each.stop - 1, size)
