"""Versions as clients write them.

The version of a file is its time of last change in whole seconds, as dates in HTTP are. Files that
others write have fractions of a second; they are cut off everywhere: in what is answered, in what
is compared, in lists. So a client that was told a version and sends the same one is never older.
(The original compares its client's seconds with fractions, but only ever stores whole ones.)
"""

import os
from datetime import UTC, datetime, timedelta, timezone
from email.utils import formatdate, parsedate_tz
from typing import Final

from api.files.refusal import Refusal

SECOND_NS: Final = 10**9
AHEAD_SECONDS: Final = 86_400
"""How far a version may lie in the future: clocks differ, but not by more than a day."""

_FIELDS: Final = 6
_OFFSET: Final = 9


def version_of(found: os.stat_result) -> int:
    """Return the version of a file, seconds since 1970 UTC."""
    return found.st_mtime_ns // SECOND_NS


def format_version(version: int) -> str:
    """Write a version as a date of HTTP (RFC 9110, 5.6.7), which is one of RFC 2822, too."""
    return formatdate(version, usegmt=True)


def parse_date(text: str) -> int | None:
    """Read a date of RFC 2822 or HTTP; one without a zone is UTC.

    Returns:
        Seconds since 1970 UTC, or None when it is no date.
    """
    try:
        fields = parsedate_tz(text)
        if fields is None:
            return None
        zone = timezone(timedelta(seconds=fields[_OFFSET] or 0))
        return int(datetime(*fields[:_FIELDS], tzinfo=zone).astimezone(UTC).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def parse_version(text: str, now: int) -> int:
    """Read the version that a client gives.

    Args:
        text: a date of RFC 2822.
        now: seconds since 1970 UTC.

    Raises:
        Refusal: it is no date, or none that a file can have.
    """
    version = parse_date(text)
    if version is None:
        raise Refusal(400, '"?last_modified=" is no date of RFC 2822')
    if version < 0:
        raise Refusal(400, '"?last_modified=" is before 1970')
    if version > now + AHEAD_SECONDS:
        raise Refusal(400, '"?last_modified=" is in the future')
    return version
