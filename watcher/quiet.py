"""Hours in which disks are left to sleep."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple

_RANGE = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_MINUTES_PER_HOUR = 60


class Span(NamedTuple):
    """A part of every day, in minutes since midnight; it goes over midnight if it ends before."""

    begin: int
    end: int

    def holds(self, minute: int) -> bool:
        """Say whether a minute of the day is in it."""
        if self.begin < self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


class QuietHours:
    """Says whether it is quiet now.

    Args:
        spans: when it is quiet.
        zone: whose time of day is meant; None: the machine's.
    """

    def __init__(self, spans: Iterable[Span] = (), zone: tzinfo | None = None) -> None:
        self._spans = tuple(spans)
        self._zone = zone

    def hold(self, now_us: int) -> bool:
        """Say whether a time, microseconds since 1970 UTC, is in them."""
        if not self._spans:
            return False
        now = datetime.fromtimestamp(now_us // 1_000_000, UTC).astimezone(self._zone)
        minute = now.hour * _MINUTES_PER_HOUR + now.minute
        return any(span.holds(minute) for span in self._spans)


def parse_spans(text: str) -> tuple[Span, ...]:
    """Read spans, such as `23:00-07:00` or `12:00-13:00, 23:00-07:00`.

    Raises:
        ValueError: these are none.
    """
    found = [_RANGE.fullmatch(part.strip()) for part in text.split(",")]
    spans = [
        Span(int(m[1]) * _MINUTES_PER_HOUR + int(m[2]), int(m[3]) * _MINUTES_PER_HOUR + int(m[4]))
        for m in found
        if m
    ]
    if len(spans) < len(found) or any(span.begin == span.end for span in spans):
        raise ValueError("give two different times of day, such as 23:00-07:00")
    return tuple(spans)
