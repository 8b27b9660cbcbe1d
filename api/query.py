"""What a request for changes asks for, checked strictly where a mistake would cost changes."""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

PAGE_DEFAULT = 1_000
PAGE_MAX = 10_000
CURSOR_MAX = 2**63 - 1
"""The largest position that the log can hold."""

_CURSOR = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SIZE = re.compile(r"0*([0-9]+)", re.ASCII)
_SIZE_DIGITS = 6
"""So many of the first digits are enough to see that a size is above the maximum."""


class CursorError(ValueError):
    """The cursor is no position; the message says what one looks like."""


class ChangesQuery(NamedTuple):
    """A request for changes.

    Attributes:
        cursor: a position, or 0.
        limit: how many changes a page may have.
        log_ids: epochs that the client believes to be in; each must be the log's.
    """

    cursor: int
    limit: int
    log_ids: tuple[str, ...] = ()


def parse(query: bytes) -> ChangesQuery:
    """Read a query string.

    `max_size` is a wish: what is no integer above 0 gives the default, as the seed's server does,
    and what is above the maximum gives the maximum.

    Args:
        query: as in the request line, without the question mark.

    Raises:
        CursorError: the cursor is malformed or given more than once.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    cursors = [value for name, value in pairs if name == "cursor"]
    sizes = [value for name, value in pairs if name == "max_size"]
    log_ids = tuple(value for name, value in pairs if name == "log_id")
    return ChangesQuery(_cursor(cursors), page_limit(sizes), log_ids)


def _cursor(values: list[str]) -> int:
    if not values:
        return 0
    if len(values) > 1:
        raise CursorError("the cursor is given more than once")
    if not _CURSOR.fullmatch(values[0]) or (cursor := int(values[0])) > CURSOR_MAX:
        raise CursorError("a cursor is 0 or a positive decimal integer below 2^63, without sign")
    return cursor


def page_limit(values: list[str]) -> int:
    """Return how many entries a page may have; what is no wish for that gives the default.

    Args:
        values: all that were given.
    """
    found = _SIZE.fullmatch(values[0]) if len(values) == 1 else None
    return min(int(found[1][:_SIZE_DIGITS]), PAGE_MAX) or PAGE_DEFAULT if found else PAGE_DEFAULT
