"""Looks after the library now and then: what is over ends, what is too old goes."""

import logging
import threading
from typing import Final

from api.library import uploads
from api.library.call import FACE, Service
from api.library.trash import Trash
from eventlog.errors import LogError
from projections import library_users

EVERY_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


class Keeper:
    """A thread that does it.

    Args:
        service: what the library is.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="library-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stop.set()
        self._thread.join()

    def once(self) -> None:
        """Do all of it now.

        Raises:
            LogError: nothing can be stored.
        """
        service = self._service
        if library_users.any_over(service.store, service.now_us):
            service.store.change(library_users.expire, FACE)
        uploads.expire(service)
        Trash(service).expire(service.settings.trash_days, service.settings.trash_bytes)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            try:
                self.once()
            except LogError as error:
                _log.warning("the library could not be looked after: %s; tried again later", error)
