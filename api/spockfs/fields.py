"""Header fields of requests: raw bytes in, numbers and names out."""

import errno
import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from api.asgi import Headers
from api.spockfs.errors import Refusal

FILE_BYTES_MAX: Final = 2**63 - 1
"""The largest position in a file that the system knows."""

LEAVE: Final = 2**32 - 1
"""In place of an owner or group: as it is; see chown(2)."""

_NUMBER: Final = re.compile(rb"[0-9]{1,20}")
_SECONDS: Final = re.compile(rb"-?[0-9]{1,12}")
_RANGE: Final = re.compile(rb"bytes=([0-9]*)-([0-9]*)")
_CONTENT_RANGE: Final = re.compile(rb"bytes[ =]([0-9]{1,20})-([0-9]{1,20})(?:/(?:[0-9]+|\*))?")


class Span(NamedTuple):
    """Bytes of a file.

    Attributes:
        start: the first.
        stop: the first that is not among them.
    """

    start: int
    stop: int


class Fields(dict[bytes, bytes]):
    """The fields of a request, by name in lower case.

    Args:
        headers: of ASGI.

    Raises:
        Refusal: a field that may be there once is there twice.
    """

    def __init__(self, headers: Headers) -> None:
        super().__init__(headers)
        if len(self) < len(headers):
            names = [name for name, _ in headers]
            for name in self:
                if _is_single(name) and names.count(name) > 1:
                    raise Refusal(errno.EINVAL, f"{name.decode('latin-1')} is there twice")

    def number(self, name: bytes, default: int | None = None) -> int:
        """Return the value of a numeric field.

        Raises:
            Refusal: it is no number, too large for any, or missing without a default.
        """
        text = self.get(name)
        if text is None:
            if default is None:
                raise Refusal(errno.EINVAL, f"{name.decode()} is needed")
            return default
        if not _NUMBER.fullmatch(text):
            raise Refusal(errno.EINVAL, f"{name.decode()} is no whole number")
        value = int(text)
        if value > FILE_BYTES_MAX:
            raise Refusal(errno.EINVAL, f"{name.decode()} is too large", 416)
        return value

    def seconds(self, name: bytes) -> int | None:
        """Return a time in seconds since 1970, also before that; None when it is not given.

        Raises:
            Refusal: it is none.
        """
        text = self.get(name)
        if text is None:
            return None
        if not _SECONDS.fullmatch(text):
            raise Refusal(errno.EINVAL, f"{name.decode()} is no time in seconds")
        return int(text)

    def target(self) -> bytes:
        """Return X-Spock-target as it is, or decoded when the client could not send it so.

        A header field loses blanks at its ends and cannot have line ends: then the client sends
        X-Spock-target-encoded, percent-encoded, an extension.

        Raises:
            Refusal: it is missing.
        """
        encoded = self.get(b"x-spock-target-encoded")
        text = self.get(b"x-spock-target") if encoded is None else unquote_to_bytes(encoded)
        if text is None:
            raise Refusal(errno.EINVAL, "X-Spock-target is needed")
        if b"\0" in text:
            raise Refusal(errno.EINVAL, "X-Spock-target cannot contain a NUL")
        return text

    def range(self) -> Span | None:
        """Return the bytes that Range asks for, the end perhaps beyond that of the file.

        A suffix (`bytes=-5`) has a negative start. None: there is no range, or more than one, or
        of another unit, which RFC 9110, 14.2 lets a server ignore.
        """
        found = _RANGE.fullmatch(self.get(b"range", b""))
        if found is None:
            return None
        first, last = found[1], found[2]
        if not first:
            return Span(-int(last), FILE_BYTES_MAX) if last else None
        stop = int(last) + 1 if last else FILE_BYTES_MAX
        return Span(int(first), stop) if stop > int(first) else None

    def content_range(self) -> Span:
        """Return the bytes that Content-Range is about, as clients and RFC 9110, 14.4 write it.

        Raises:
            Refusal: it is missing, or means nothing.
        """
        text = self.get(b"content-range")
        if text is None:
            raise Refusal(errno.EINVAL, "Content-Range is needed")
        found = _CONTENT_RANGE.fullmatch(text.strip())
        if found is None:
            raise Refusal(errno.EINVAL, "Content-Range must be as bytes=100-104")
        return _span(int(found[1]), int(found[2]))

    def needed_range(self) -> Span:
        """Return the bytes of a Range that must have both ends.

        Raises:
            Refusal: it has not.
        """
        found = _RANGE.fullmatch(self.get(b"range", b""))
        if found is None or not found[1] or not found[2]:
            raise Refusal(errno.EINVAL, "Range must be as bytes=400-500")
        return _span(int(found[1]), int(found[2]))


def _span(first: int, last: int) -> Span:
    if last < first:
        raise Refusal(errno.EINVAL, "the range ends before it begins")
    if last >= FILE_BYTES_MAX:
        raise Refusal(errno.EFBIG, "no file is so large", 416)
    return Span(first, last + 1)


def _is_single(name: bytes) -> bool:
    return name.startswith(b"x-spock-") or name in _SINGLE


_SINGLE: Final = frozenset({b"authorization", b"content-range", b"range", b"content-length"})
