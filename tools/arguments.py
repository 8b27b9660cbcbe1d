"""Kinds of arguments that several commands read: times, positions, paths."""

import argparse
import datetime as dt
import os
import re
from pathlib import Path

from eventlog.clock import Clock, SystemClock

_AGO = re.compile(r"(\d{1,9})([smhdw])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_POSITION_DIGITS_MAX = 18


def time_us(text: str, clock: Clock | None = None) -> int:
    """Read a point in time.

    Args:
        text: RFC 3339 (https://www.rfc-editor.org/rfc/rfc3339), a date alone being its beginning
            and a time without a zone being local; or a length of time until now, as `2h`.
        clock: says when now is.

    Returns:
        Microseconds since 1970 UTC.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        now_us = (clock or SystemClock()).now_us()
        return now_us - int(ago[1]) * _UNIT_SECONDS[ago[2]] * 1_000_000
    try:
        moment = dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 2026-03-04T12:00:00Z, or 2h for two hours ago"
        ) from error
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return since // dt.timedelta(microseconds=1)


def position(text: str) -> int:
    """Read a position of the log.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or len(text) > _POSITION_DIGITS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no position: a whole number")
    return int(text)


def path(text: str) -> bytes:
    """Read a path as the log knows it: absolute, links resolved, but not its own last name.

    What it names need not exist any more.
    """
    absolute = Path(text).absolute()
    if absolute.name in {"", ".."}:
        return os.fsencode(os.path.realpath(absolute)).rstrip(b"/")
    return os.fsencode(Path(os.path.realpath(absolute.parent), absolute.name))
