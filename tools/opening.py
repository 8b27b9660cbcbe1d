"""Opens the log of a server, also on a full disk."""

import logging
from collections.abc import Sequence

from eventlog.ballast import Ballast
from eventlog.clock import Clock
from eventlog.errors import LogFullError
from eventlog.fold import Fold
from eventlog.log import Log

_log = logging.getLogger("nasfeed")


def open_log(database: str, folds: Sequence[Fold], clock: Clock, ballast: Ballast) -> Log:
    """Open a log, also on a full disk, where SQLite needs a little space even to read.

    Args:
        database: the log.
        folds: all projections.
        clock: time.
        ballast: beside it.

    Raises:
        LogFullError: the disk is full, and there is no ballast.
        LogError: see `Log`.
    """
    try:
        return Log(database, folds, clock=clock)
    except LogFullError:
        if not ballast.lend():
            raise
        _log.warning("%s: the disk is full; opened with space that was kept back", database)
        return Log(database, folds, clock=clock)
