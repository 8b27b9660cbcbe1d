"""A file of the store that is open for reading."""

from typing import NamedTuple


class Stored(NamedTuple):
    """A version of a file that is open for reading.

    Attributes:
        fd: its descriptor, to be closed by whoever asked.
        size: bytes that are there to be read.
        version: seconds since 1970.
        etag: a name for exactly these bytes.
        digest: SHA-256 of the plain bytes, hexadecimal, if it is known.
        unpacked: bytes of the file when what is there is compressed, else None.
    """

    fd: int
    size: int
    version: int
    etag: str
    digest: str | None
    unpacked: int | None = None
