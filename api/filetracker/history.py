"""The versions of a file as JSON."""

from collections.abc import Iterable

import msgspec

from api.files.dates import format_version
from api.filetracker.store import Listing


class Version(msgspec.Struct, frozen=True):
    """A version of a file.

    Attributes:
        version: seconds since 1970; what `?version=` takes.
        last_modified: the same as a date.
        size: bytes.
        sha256: of its content, hexadecimal; null where that would take long to find out.
        current: it is what is there now.
    """

    version: int
    last_modified: str
    size: int
    sha256: str | None
    current: bool


class History(msgspec.Struct, frozen=True):
    """All versions of a file, the one of now first, then from the newest on."""

    path: str
    versions: list[Version]


def encode(path: bytes, listed: Iterable[Listing]) -> bytes:
    """Write the versions of a file.

    Args:
        path: of it, raw; what is not UTF-8 in it is replaced.
        listed: its versions.
    """
    versions = [
        Version(each.version, format_version(each.version), each.size, each.digest, each.current)
        for each in listed
    ]
    return msgspec.json.encode(History(path.decode("utf-8", "replace"), versions))
