"""A thread that keeps the store in order while it is served."""

import logging
import threading
from typing import Final

from api.filetracker import upkeep
from api.filetracker.store import Store
from api.served import RootUnavailableError
from eventlog.clock import Clock

HOUR_SECONDS: Final = 3_600.0
RETRY_SECONDS: Final = 1.0
"""How soon it is tried again while the root is not there; the first time that is usual."""

_log = logging.getLogger(__name__)


class Housekeeper:
    """Removes what a killed server left, what is too old, and counts, at the start and hourly.

    Args:
        store: what is kept in order.
        clock: time.
        keep_days: how long old versions are kept; None for ever.
    """

    def __init__(self, store: Store, clock: Clock, keep_days: float | None) -> None:
        self._store = store
        self._clock = clock
        self._keep_days = keep_days
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="filetracker upkeep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End soon, and wait for that."""
        self._stopping.set()
        self._thread.join()

    def work(self) -> bool:
        """Do all of it once; returns whether the root was there."""
        store = self._store
        try:
            swept = store.staging.sweep()
            done = upkeep.collect(
                store.beneath,
                store.keeper,
                self._clock.now_us(),
                self._keep_days,
                self._stopping.is_set,
            )
            if store.usage.quota is not None:
                store.usage.counted(upkeep.usage(store.beneath))
        except RootUnavailableError:
            return False
        except OSError as error:
            _log.warning("filetracker: the store could not be put in order: %s", error)
            return True
        if swept or done.versions or done.contents:
            _log.info(
                "filetracker: removed %d unfinished uploads, %d old versions, %d contents",
                swept,
                done.versions,
                done.contents,
            )
        return True

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = HOUR_SECONDS if self.work() else RETRY_SECONDS
