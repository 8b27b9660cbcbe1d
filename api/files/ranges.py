"""Ranges of bytes (RFC 9110, 14)."""

import re
from typing import Final, NamedTuple

RANGES_MAX: Final = 64
"""Ranges in one request; more are a way to have a server work for little."""

_RANGE = re.compile(r"\s*([0-9]{0,1000})-([0-9]{0,1000})\s*")


class Range(NamedTuple):
    """Bytes of a file.

    Attributes:
        start: the first.
        stop: the one behind the last.
    """

    start: int
    stop: int


def parse_ranges(text: str, size: int) -> list[Range] | None:
    """Read the field of that name.

    Args:
        text: its value.
        size: of the file, bytes.

    Returns:
        What can be served of it, in the order asked for; empty when nothing can (416); None when
        the field says nothing that must be heeded: it is malformed, or asks for too much at once.
    """
    unit, equals, specs = text.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return None
    found: list[Range] = []
    for spec in specs.split(","):
        match = _RANGE.fullmatch(spec)
        if match is None or match[1] == match[2] == "":
            return None
        if match[1] and match[2] and int(match[1]) > int(match[2]):
            return None
        found += _clamp(match[1], match[2], size)
    if len(found) > RANGES_MAX or _covered(found) > size + size // 2:
        return None
    return found


def _clamp(first: str, last: str, size: int) -> list[Range]:
    """Return a range as far as there are bytes in it."""
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), size if not last else min(int(last) + 1, size)
    return [Range(start, stop)] if start < stop else []


def _covered(ranges: list[Range]) -> int:
    return sum(each.stop - each.start for each in ranges)
