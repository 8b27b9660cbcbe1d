"""Ends what a crash left half done: whole uploads, and things on the way to the trash."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from api.library.call import Place, Service, Who
from api.library.finishing import finish
from api.library.trash import Trash
from api.library.uploads import found
from api.library.wire import LibraryError
from api.served import RootUnavailableError
from eventlog.library import Trashed, Upload

_log: Final = logging.getLogger(__name__)


class Recovery:
    """Does it, and again as long as a root is away. Made before requests are answered.

    Args:
        service: what the library is.

    Raises:
        LogError: nothing can be read.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._steps = 0
        with service.store.reading() as view:
            self._left: list[Callable[[], bool]] = [
                partial(self._finish, *found) for found in view.library.unfinished()
            ]
            self._left += [partial(_sweep, place) for place in service.places.values()]
            self._left += [partial(self._settle, *found) for found in view.library.trash()]

    def step(self) -> None:
        """Try to end what is left; called often, it does so less and less often.

        Raises:
            LogError: nothing can be stored.
        """
        self._steps += 1
        if self._steps.bit_count() == 1:
            self._left = [work for work in self._left if not self._is_over(work)]

    def _is_over(self, work: Callable[[], bool]) -> bool:
        """Do something; return whether it need not be tried again."""
        try:
            return work()
        except RootUnavailableError:
            return False
        except LibraryError:
            return True  # its root is none any more
        except OSError as error:
            _log.warning("the library could not end what a crash interrupted: %s", error)
        return True

    def _finish(self, number: int, upload: Upload) -> bool:
        with self._service.store.reading() as view:
            user, now = view.library.user(upload.user), view.library.upload(number)
        if user is None or now is None or now.note.node:
            return True
        who = Who(upload.user, user, b"")
        try:
            sending = found(self._service, who, number)
            if sending.is_whole:
                finish(self._service, who, sending)
        except LibraryError:
            return False  # its catalog is gone; it may come back from the trash, or another root
        return True

    def _settle(self, entity: int, trashed: Trashed) -> bool:
        return Trash(self._service).settle(entity, trashed)


def _sweep(place: Place) -> bool:
    """Remove new files that a killed server left on a filesystem below the root."""
    place.staging.sweep()
    return True
