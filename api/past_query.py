"""What a request about nodes asks for. File names are bytes, so the query is read as bytes."""

import base64
import binascii
import datetime as dt
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from api.query import CURSOR_MAX, page_limit
from projections.overlay import Key
from projections.past_tree import FIRST

_POSITION = re.compile(rb"0|[1-9][0-9]{0,18}")
# RFC 3339, 5.6. A plus that was not encoded has become a space.
_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<minute>\d\d:\d\d):(?P<second>\d\d)"
    r"(?:\.(?P<fraction>\d+))?(?:[Zz]|(?P<sign>[+ -])(?P<zone>\d\d:\d\d))",
    re.ASCII,
)
_TOKEN = re.compile(rb"[A-Za-z0-9_-]{1,512}")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LEAP_SECOND = "60"
_MICRO_DIGITS = 6


class QueryError(ValueError):
    """A parameter is malformed.

    Args:
        name: of the parameter.
        detail: what is wanted, one line.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name


class At(NamedTuple):
    """A point in the past.

    Attributes:
        position: of the log, or None: it is given by its time.
        time_us: microseconds since 1970 UTC; what was before it is meant.
    """

    position: int | None
    time_us: int = 0


class Parameters:
    """The parameters of a request.

    Args:
        query: as in the request line, without the question mark.
    """

    def __init__(self, query: bytes) -> None:
        self._all: dict[bytes, list[bytes]] = {}
        for pair in filter(None, query.split(b"&")):
            name, _, value = pair.replace(b"+", b" ").partition(b"=")
            self._all.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))

    @property
    def is_past(self) -> bool:
        """Whether anything but now is asked for."""
        return b"at" in self._all

    def at(self) -> At | None:
        """Return the point in the past that is asked for, or None: it is now.

        Raises:
            QueryError: it is neither a position nor a time of RFC 3339, or there are several.
        """
        value = self._one("at")
        if value is None:
            return None
        if _POSITION.fullmatch(value) and int(value) <= CURSOR_MAX:
            return At(int(value))
        return At(None, time_us(value))

    def time(self) -> int:
        """Return the time that `at` holds, in microseconds since 1970 UTC.

        Raises:
            QueryError: it is no time of RFC 3339, or there is not just one.
        """
        return time_us(self._one("at") or b"")

    def limit(self) -> int:
        """Return how many entries a page may have, read as for changes."""
        return page_limit([v.decode("latin-1") for v in self._all.get(b"max_size", [])])

    def after_position(self) -> int:
        """Return the position after which a page begins.

        Raises:
            QueryError: it is no position.
        """
        value = self._one("after") or b"0"
        if not _POSITION.fullmatch(value) or int(value) > CURSOR_MAX:
            raise QueryError("after", "send what 'after' was in the page before")
        return int(value)

    def after_key(self) -> Key:
        """Return what a page of children begins after.

        Raises:
            QueryError: it is nothing that a page gave.
        """
        value = self._one("after")
        return from_token(value) if value else FIRST

    def path(self) -> bytes:
        """Return the absolute path that is asked for, raw.

        Raises:
            QueryError: there is none, there are several, or it is not absolute.
        """
        plain, raw = self._one("path"), self._one("path_raw")
        if (plain is None) == (raw is None):
            raise QueryError("path", "send either path, percent-encoded, or path_raw, in base64")
        path = plain if raw is None else _base64(raw)
        if not path or not path.startswith(b"/"):
            raise QueryError("path", "the path must be absolute: it begins with a slash")
        return path

    def _one(self, name: str) -> bytes | None:
        values = self._all.get(name.encode(), [])
        if len(values) > 1:
            raise QueryError(name, f"{name} is given more than once")
        return values[0] if values else None


def time_us(value: bytes) -> int:
    """Read a time as RFC 3339 writes it; what is finer than a microsecond is rounded up.

    Returns:
        Microseconds since 1970 UTC.

    Raises:
        QueryError: it is no such time.
    """
    found = _TIME.fullmatch(value.decode("latin-1"))
    whole = None if found is None else _whole_us(found)
    if found is None or whole is None:
        raise QueryError("at", "write a time as RFC 3339 does, with its zone: 2026-03-04T12:00:00Z")
    return whole + _microseconds(found["fraction"] or "")


def to_token(key: Key) -> str:
    """Return what stands for the place of a child among its siblings."""
    name, number = key
    return base64.urlsafe_b64encode(b"%d:%b" % (number, name)).rstrip(b"=").decode("ascii")


def from_token(token: bytes) -> Key:
    """Read what `to_token` made.

    Raises:
        QueryError: it did not make this.
    """
    number, colon, name = b"", b"", b""
    if _TOKEN.fullmatch(token):
        number, colon, name = _base64(token, "after").partition(b":")
    if not colon or not _POSITION.fullmatch(number) or int(number) > CURSOR_MAX:
        raise QueryError("after", "send what 'after' was in the page before")
    return name, int(number)


def _whole_us(found: re.Match[str]) -> int | None:
    """Return the microseconds up to a second, or None when there is no such time."""
    sign = "-" if found["sign"] == "-" else "+"
    zone = f"{sign}{found['zone']}" if found["zone"] else "+00:00"
    is_leap = found["second"] == _LEAP_SECOND
    second = "59" if is_leap else found["second"]
    try:
        moment = dt.datetime.fromisoformat(f"{found['date']}T{found['minute']}:{second}{zone}")
    except ValueError:
        return None
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) + is_leap * 1_000_000


def _microseconds(fraction: str) -> int:
    digits, rest = fraction[:_MICRO_DIGITS].ljust(_MICRO_DIGITS, "0"), fraction[_MICRO_DIGITS:]
    return int(digits) + bool(rest.strip("0"))


def _base64(value: bytes, name: str = "path") -> bytes:
    """Decode either alphabet of RFC 4648, padded or not; a plus may have become a space."""
    plain = value.translate(bytes.maketrans(b"-_ ", b"+/+")).rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise QueryError(name, f"{name} is no base64") from error
