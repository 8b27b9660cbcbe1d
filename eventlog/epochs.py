"""Epochs: what a restore does to the positions of a log.

A backup is older than the log that it replaces. Clients hold cursors that the backup never gave,
and the positions after it would be given a second time, for other events. So a restored log gets

- a new `log_id`, which refuses every cursor of a client that says of which log it is;
- a sequence that goes on far above any position that was ever given. A cursor above the backup's
  head was given by the log that was replaced, and lies in a gap in which the restored log has no
  position. It is refused, also of a client that names no log.
- each live node told anew above the gap, and the cursors below it refused as well. A client that
  was in the middle of a drain may hold a cursor below the backup's head, and be without a node
  that comes earlier in the restored log than in the one it was reading: there the node had changed
  again, so that its turn was yet to come. Nothing in the cursor says so. And who begins at 0 is
  never again given a cursor from below the gap.

How far is far? Above the highest position known, of the backup and of the log that it replaces,
by `LEAP`. But the replaced log may be lost, and the backup may not be of the newest epoch. So the
sequence also begins no lower than `PER_SECOND` times the seconds since 2024. No log appends so many
events for every second of its life, so a later restore is always above whatever an earlier epoch
gave, known or not. Positions stay below 2^48, where node numbers end, until the year 2160, and
below 2^53, up to which every JSON reader is exact.
"""

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import apsw

from eventlog.archive import RESTORED
from eventlog.connection import fetch
from eventlog.errors import LogFormatError
from eventlog.identifiers import NUMBER_MAX

HONOURED = "honoured"
"""Key in `meta`: cursors below are of an earlier epoch, and refused. What they tell of is kept."""

GAPS = "gaps"
"""Key in `meta`: `AFTER-BEFORE`, with commas between."""

LEAP = 2**32
PER_SECOND = 2**16
_2024 = 1_704_067_200

HEAD = "select coalesce((select seq from sqlite_sequence where name = 'events'), 0)"


class Gap(NamedTuple):
    """Positions that a restored log never gave: all above `after` and below `before`."""

    after: int
    before: int


def parse_gaps(text: str) -> tuple[Gap, ...]:
    """Read what `meta` holds.

    Raises:
        ValueError: it is malformed.
    """
    pairs = [part.split("-") for part in text.split(",") if part]
    return tuple(Gap(int(after), int(before)) for after, before in pairs)


def format_gaps(gaps: Iterable[Gap]) -> str:
    """Return gaps as `meta` holds them."""
    return ",".join(f"{gap.after}-{gap.before}" for gap in gaps)


def is_lost(position: int, gaps: Sequence[Gap]) -> bool:
    """Return whether a position was given, if ever, by a log that was replaced by a restore."""
    return any(gap.after < position < gap.before for gap in gaps)


def begin(connection: apsw.Connection, others: Iterable[int], now_us: int) -> int:
    """Make a log the first of a new epoch, in the caller's transaction.

    Args:
        connection: of a database that nobody else has open.
        others: heads of other logs that may have given positions to the same clients.
        now_us: microseconds since 1970 UTC.

    Returns:
        The new head.

    Raises:
        LogFormatError: the facts of the log are damaged, or its positions are used up.
    """
    meta = dict(fetch(connection, "select key, value from meta"))
    head: int = fetch(connection, HEAD)[0][0]
    by_clock = (now_us // 1_000_000 - _2024) * PER_SECOND
    begins = max(head, *others, 0) + LEAP
    begins = max(begins, by_clock) if by_clock < NUMBER_MAX // 2 else begins
    if begins > NUMBER_MAX:
        raise LogFormatError("the positions of this log are used up; begin with a new database")
    try:
        gaps = (*parse_gaps(meta.get(GAPS, "")), Gap(head, begins))
    except ValueError as error:
        raise LogFormatError(f"its own facts are damaged: {GAPS}: {error}") from error
    connection.executemany(
        "insert or replace into meta (key, value) values (?, ?)",
        [
            ("log_id", secrets.token_hex(16)),
            (GAPS, format_gaps(gaps)),
            (RESTORED, str(head)),
        ],
    )
    connection.execute("delete from sqlite_sequence where name = 'events'")
    connection.execute("insert into sqlite_sequence (name, seq) values ('events', ?)", (begins,))
    return begins
