"""Has the log know how far a long request is, so that a crash of the server costs little of it."""

from typing import Final

from api.library import uploads
from api.library.call import Service, Who
from api.library.finishing import Sending
from api.library.parcels import Parcel

EVERY_BYTES: Final = 2**25
"""What comes between two notes: seldom enough to cost nothing, often enough to lose little."""


class Progress:
    """What came in one request and is not noted yet.

    Args:
        service: what the library is.
        who: uploads.
        sending: the upload.
    """

    def __init__(self, service: Service, who: Who, sending: Sending) -> None:
        self._service = service
        self._who = who
        self._sending = sending
        self._bytes = 0

    def came(self, origin: Parcel, count: int) -> None:
        """Note now and then how much of an origin is on the disk.

        When it is whole, nothing is noted: that makes a file of it, and the request has not ended.

        Args:
            origin: which is being written.
            count: bytes that were appended.

        Raises:
            LibraryError: the upload is none any more.
            LogError: nothing can be stored.
            OSError: the disk is in trouble.
        """
        self._bytes += count
        if self._bytes < EVERY_BYTES or origin.size >= self._sending.upload.size:
            return
        origin.sync()
        uploads.advance(self._service, self._who, self._sending, set())
        self._bytes = 0
