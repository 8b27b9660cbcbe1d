"""Sends files: whole, in part, or not at all because the client has them."""

from typing import Final

from api.files import download
from api.files.dates import format_version
from api.files.download import OCTETS, Content, Download, RawFields
from api.filetracker.request import Request
from api.filetracker.stored import Stored

_SAFE: Final[RawFields] = [
    # Whatever clients store, no browser may take it for a page of this server.
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
]


def plan(request: Request, stored: Stored) -> Download:
    """Say how to answer.

    Args:
        request: for a file.
        stored: the file.

    Raises:
        Refusal: a condition does not hold, or no range can be served.
    """
    content = Content(stored.size, stored.etag, stored.version, OCTETS)
    about = describe(stored.version, stored.etag)
    return download.plan(request.fields, content, about, measures(stored))


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
