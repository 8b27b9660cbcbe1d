"""Looks after the library now and then: what is over ends, what is too old goes."""

import itertools
import logging
import threading
from typing import Final

from api.library import uploads
from api.library.burial import bury
from api.library.call import FACE, Service
from api.library.circles import straighten
from api.library.gallery import Gallery
from api.library.recovery import Recovery
from api.library.thumbs import Thumbs
from api.library.trash import Trash, settle_restored
from eventlog.errors import LogError
from projections import library_users

LOOK_SECONDS: Final = 1.0

EVERY: Final = 30
"""Looks after which it is looked after."""

_log = logging.getLogger(__name__)


class Keeper:
    """A thread that does it.

    Args:
        service: what the library is.
        thumbs: of pictures and videos.
    """

    def __init__(self, service: Service, thumbs: Thumbs) -> None:
        self._service = service
        self._thumbs = thumbs
        self._gallery = Gallery(service, thumbs.cache, thumbs.look)
        self._looker = threading.Thread(target=self._look, name="library-gallery", daemon=True)
        self._recovery = Recovery(service)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="library-keeper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._looker.start()

    def ask_to_stop(self) -> None:
        """Begin to end; what fails from now on is nobody's business."""
        self._stop.set()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stop.set()
        self._thread.join()
        self._looker.join()

    def once(self) -> None:
        """Do all of it now.

        Raises:
            LogError: nothing can be stored.
        """
        service = self._service
        if library_users.any_over(service.store, service.now_us):
            service.store.change(library_users.expire, FACE)
        uploads.expire(service)
        settle_restored(service)
        straighten(service)
        bury(service)
        self._thumbs.cache.trim()
        Trash(service).expire(service.settings.trash_days, service.settings.trash_bytes)

    def _look(self) -> None:
        """Look at new files for as long as this runs; nothing else may end it."""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                while self._gallery.describe_new(self._stop.is_set):
                    pass
            except (LogError, OSError) as error:
                if not self._stop.is_set():
                    _log.warning("new files of the library could not be looked at: %s", error)
            except Exception:  # noqa: BLE001 - logged; the others are still looked at
                _log.exception("new files of the library could not be looked at")

    def _run(self) -> None:
        for tick in itertools.count(1):
            if self._stop.wait(LOOK_SECONDS):
                return
            try:
                self._recovery.step()
                if tick % EVERY == 0:
                    self.once()
            except LogError as error:
                _log.warning("the library could not be looked after: %s; tried again later", error)
