"""What a request for changes asks for, checked strictly where a mistake would cost changes."""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl

from projections.filter import KINDS

PAGE_DEFAULT = 1_000
PAGE_MAX = 10_000
CURSOR_MAX = 2**63 - 1
"""The largest position that the log can hold."""

_CURSOR = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_SIZE = re.compile(r"0*([0-9]+)", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)
_SIZE_DIGITS = 6
"""So many of the first digits are enough to see that a size is above the maximum."""


WAIT_MAX = 60
"""Seconds; what waits longer is cut by proxies on the way."""


class QueryError(ValueError):
    """A parameter is not what it must be; the message says what that is.

    Attributes:
        error: a word for programs.
    """

    error = "invalid_query"


class CursorError(QueryError):
    """The cursor is no position; the message says what one looks like."""

    error = "invalid_cursor"


class WaitError(QueryError):
    """The time to wait is no number of seconds that can be waited."""

    error = "invalid_wait"


class SyncError(QueryError):
    """The time to wait for a barrier is none."""

    error = "invalid_sync"


class FilterError(QueryError):
    """A filter is not what it must be."""

    error = "invalid_filter"


class Wanted(NamedTuple):
    """A filter as it was asked for; see `projections.filter.Filter`.

    Attributes:
        root: name of a root, or None.
        under: id of a directory, or None.
        mimes: beginnings of MIME types.
        kinds: kinds of nodes.
    """

    root: str | None = None
    under: str | None = None
    mimes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class ChangesQuery(NamedTuple):
    """A request for changes.

    Attributes:
        cursor: a position, or 0.
        limit: how many changes a page may have.
        log_ids: epochs that the client believes to be in; each must be the log's.
        wait: seconds that the client is willing to wait for something new.
        wanted: the filter, or None.
        since: what came with the cursor, through a filter; 0 when it is not known.
    """

    cursor: int
    limit: int
    log_ids: tuple[str, ...] = ()
    wait: float = 0.0
    wanted: Wanted | None = None
    since: int = 0

    def after(self, cursor: int, since: int) -> "ChangesQuery":
        """Return what asks for the next page, and says no more than pages depend on."""
        return self._replace(cursor=cursor, since=since, log_ids=(), wait=0.0)


def parse(query: bytes, limit: int = PAGE_DEFAULT) -> ChangesQuery:
    """Read a query string.

    `max_size` is a wish: what is no integer above 0 gives the default, as the seed's server does,
    and what is above the maximum gives the maximum.

    Args:
        query: as in the request line, without the question mark.
        limit: the default of `max_size`.

    Raises:
        CursorError: the cursor is malformed or given more than once.
        WaitError: so is the time to wait.
        FilterError: so is a filter.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")

    def values(wanted: str) -> list[str]:
        return [value for name, value in pairs if name == wanted]

    return ChangesQuery(
        cursor=_cursor(values("cursor")),
        limit=page_limit(values("max_size"), limit),
        log_ids=tuple(values("log_id")),
        wait=_wait(values("wait")),
        wanted=_wanted(values),
        since=_cursor(values("since")),
    )


def parse_wanted(query: bytes) -> Wanted | None:
    """Read only the filter of a query string; None when there is none.

    Raises:
        FilterError: a filter is not what it must be.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    return _wanted(lambda wanted: [value for name, value in pairs if name == wanted])


def parse_cursor(text: str) -> int:
    """Read a cursor.

    Raises:
        CursorError: it is malformed.
    """
    return _cursor([text])


def _cursor(values: list[str]) -> int:
    if not values:
        return 0
    if len(values) > 1:
        raise CursorError("the cursor is given more than once")
    if not _CURSOR.fullmatch(values[0]) or (cursor := int(values[0])) > CURSOR_MAX:
        raise CursorError("a cursor is 0 or a positive decimal integer below 2^63, without sign")
    return cursor


def page_limit(values: list[str], default: int = PAGE_DEFAULT) -> int:
    """Return how many entries a page may have; what is no wish for that gives the default.

    Args:
        values: all that were given.
        default: see above.
    """
    found = _SIZE.fullmatch(values[0]) if len(values) == 1 else None
    return min(int(found[1][:_SIZE_DIGITS]), PAGE_MAX) or default if found else default


def parse_sync(query: bytes) -> float:
    """Return how long a client is willing to wait for a barrier, seconds.

    Raises:
        SyncError: that is no time.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="replace")
    values = [value for name, value in pairs if name == "sync"]
    seconds = _seconds(values)
    if not seconds or len(pairs) > 1:
        raise SyncError(f"sync is a number of seconds above 0 and up to {WAIT_MAX}, given alone")
    return seconds


def _wait(values: list[str]) -> float:
    seconds = _seconds(values) if values else 0.0
    if seconds is None:
        raise WaitError(f"wait is a number of seconds up to {WAIT_MAX}, given once")
    return seconds


def _seconds(values: list[str]) -> float | None:
    if len(values) != 1 or not _SECONDS.fullmatch(values[0]) or float(values[0]) > WAIT_MAX:
        return None
    return float(values[0])


def _wanted(values: Callable[[str], list[str]]) -> Wanted | None:
    wanted = Wanted(
        root=_one("root", values("root")),
        under=_one("under", values("under")),
        mimes=tuple(values("mime")),
        kinds=tuple(values("kind")),
    )
    if unknown := set(wanted.kinds).difference(KINDS.values()):
        known = ", ".join(KINDS.values())
        raise FilterError(f"there is no kind {min(unknown)!r}; the kinds are {known}")
    if "" in wanted.mimes:
        raise FilterError("mime is empty; leave it out, or give the beginning of a MIME type")
    return None if wanted == Wanted() else wanted


def _one(name: str, values: list[str]) -> str | None:
    if len(values) > 1:
        raise FilterError(f"{name} is given more than once")
    if "" in values:
        raise FilterError(f"{name} is empty; leave it out, or say which")
    return values[0] if values else None
