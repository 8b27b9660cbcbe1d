"""Text for people: what stands in a terminal or a log line."""

import time
import unicodedata

import msgspec

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_KIBI = 1024


def printable(text: str) -> str:
    """Return text in which nothing can move the cursor, end the line or turn the reading around.

    File names may hold anything but a slash and a NUL. Control characters, direction marks and
    bytes that are not UTF-8 are shown as Python escapes, a backslash as itself.

    Args:
        text: perhaps with lone surrogates, as `os.fsdecode` gives them.
    """
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if _is_unfit(c) else c for c in text)


def _is_unfit(character: str) -> bool:
    """Categories of https://www.unicode.org/reports/tr44/: all of C, line and paragraph ends."""
    category = unicodedata.category(character)
    return category[0] == "C" or category in {"Zl", "Zp"}


def shown_bytes(raw: bytes) -> str:
    """Return a raw file name or path as `printable` shows it; what is no UTF-8 as U+FFFD.

    The feed's `name` has the same sign there, so both can be compared by eye.
    """
    return printable(raw.decode("utf-8", "replace"))


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    print(msgspec.json.encode(value).decode())


def size(count: int) -> str:
    """Return a number of bytes in a unit that keeps it short: `512 B`, `1.5 MiB`."""
    if count < _KIBI:
        return f"{count} B"
    value, unit = float(count), 0
    while value >= _KIBI and unit < len(_UNITS) - 1:
        value /= _KIBI
        unit += 1
    return f"{value:.1f} {_UNITS[unit]}"


def local_time(us: int) -> str:
    """Return a time as the wall clock here shows it.

    Args:
        us: microseconds since 1970 UTC.
    """
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(us // 1_000_000))


def utc_time(us: int) -> str:
    """Return a time as RFC 3339 in UTC, to the microsecond.

    Args:
        us: microseconds since 1970 UTC.
    """
    seconds, rest = divmod(us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: `1 h 05 min`, `12 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
