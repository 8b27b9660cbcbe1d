"""Files that anyone who has a key may read, for a while."""

import secrets
from typing import Final, NamedTuple

import msgspec

from api.library.accounts import digest
from api.library.call import FACE, SECOND_US, Call, Reading, Reply, Service
from api.library.download import Opened, open_file
from api.library.wire import BAD_PARAMETER, LibraryError
from eventlog.library import Kind, Share
from projections.library_store import Change

KEY_MAX: Final = 2**13
"""Characters of what may be tried as a key: it opens nothing then, as any other wrong one."""

COUNT_MAX: Final = 1_000_000

_KEY_BYTES: Final = 32
_NOT_FOUND: Final = 404


def share(call: Call) -> Reply:
    """Answer `shareFileUrl.icc`.

    The data is the key itself, as the original has it; `shareKey` beside it is what the seed says.
    With `count`, which is our own, the file can be read so many times. Players read it in pieces,
    in any order, and again after a cut; so what counts is how many times its bytes were sent.
    """
    number, count = call.parameters.integer("id"), call.parameters.optional_integer("count")
    if count is not None and not 0 < count <= COUNT_MAX:
        raise LibraryError(BAD_PARAMETER)
    with call.reading() as reading:
        row = reading.file(number)
    left = None if count is None else count * max(1, row.size or 0)
    key = secrets.token_urlsafe(_KEY_BYTES)
    settings = call.service.settings

    def job(change: Change) -> None:
        _make_room(change, settings.shares_max)
        until = change.now_us + round(settings.share_seconds * SECOND_US)
        user, now = call.known.number, change.now_us
        change.put(Share(row.number, user, digest(key), now, until, left))

    call.service.store.change(job, call.known.author)
    return Reply(key, {"shareKey": key})


def revoke(call: Call) -> Reply:
    """Answer `revokeShare.icc`: end a share of one's own."""
    hashed = digest(call.parameters.text("shareKey", KEY_MAX))

    def job(change: Change) -> None:
        found = change.library.share(hashed)
        if found is None or found[1].user != call.known.number:
            raise LibraryError(BAD_PARAMETER)
        change.end(Kind.SHARE, found[0], "revoked")

    call.service.store.change(job, call.known.author)
    return Reply("OK")


class Shared(NamedTuple):
    """A shared file that is open.

    Attributes:
        opened: the file.
        spending: what is sent of it; None where that is not counted.
    """

    opened: Opened
    spending: "Spending | None"


class Spending:
    """What one request takes of a share that may be read so many times.

    Args:
        service: what the library is.
        number: of the share.
    """

    def __init__(self, service: Service, number: int) -> None:
        self._service = service
        self._number = number
        self._taken = 0

    def take(self, wanted: int) -> None:
        """Take bytes before they are sent. The last request may take more than is left.

        Args:
            wanted: bytes; of an empty file, too, there is something to take.

        Raises:
            LibraryError: nothing is left.
        """

        def job(change: Change) -> None:
            share = change.library.share_numbered(self._number)
            if share is None or share.left is None or share.left <= 0:
                raise ended()
            change.put(msgspec.structs.replace(share, left=share.left - taken), self._number)

        taken = max(1, wanted)
        self._service.store.change(job, FACE)
        self._taken = taken

    def settle(self, sent: int) -> None:
        """Give back what was taken and not sent; end the share when nothing is left."""

        def job(change: Change) -> None:
            share = change.library.share_numbered(self._number)
            if share is None or share.left is None:
                return
            left = share.left + back
            if left <= 0:
                change.end(Kind.SHARE, self._number, "used up")
            elif back:
                change.put(msgspec.structs.replace(share, left=left), self._number)

        back = self._taken - max(1, sent)
        self._service.store.change(job, FACE)


def ended() -> LibraryError:
    """Return the answer to a key that opens nothing, whatever the reason."""
    return LibraryError(BAD_PARAMETER, _NOT_FOUND)


def open_shared(service: Service, key: str) -> Shared:
    """Open the file of a key.

    It opens nothing any more when its time is over, when it was read as often as it may be, when
    the file is gone, or when whoever shared it may not read it any more.

    Raises:
        LibraryError: it opens nothing.
    """
    with service.store.reading() as view:
        library = view.library
        found = library.share(digest(key))
        user = library.user(found[1].user) if found else None
        if found is None or user is None or found[1].expires_us <= service.now_us:
            raise ended()
        number, share = found
        reading = Reading(view, user, service)
        try:
            opened = open_file(reading, reading.file(share.node))
        except LibraryError as error:
            raise ended() from error
    return Shared(opened, None if share.left is None else Spending(service, number))


def _make_room(change: Change, shares_max: int) -> None:
    """End the shares that would be first to end, until there is room for one."""
    by_end = sorted((s.expires_us, number) for number, s in change.library.shares())
    for expires_us, number in by_end[: max(0, len(by_end) + 1 - shares_max)]:
        change.end(Kind.SHARE, number, "expired" if expires_us <= change.now_us else "full")
