"""Files that anyone who has a key may read, for a while."""

import secrets
from typing import Final

from api.library.accounts import digest
from api.library.call import SECOND_US, Call, Reading, Reply, Service
from api.library.download import Opened, open_file
from api.library.wire import BAD_PARAMETER, LibraryError
from eventlog.library import Kind, Share
from projections.library_store import Change

KEY_MAX: Final = 200

_KEY_BYTES: Final = 32


def share(call: Call) -> Reply:
    """Answer `shareFileUrl.icc`.

    The data is the key itself, as the original has it; `shareKey` beside it is what the seed says.
    """
    number = call.parameters.integer("id")
    with call.reading() as reading:
        number = reading.file(number).number
    key = secrets.token_urlsafe(_KEY_BYTES)
    settings = call.service.settings

    def job(change: Change) -> None:
        _make_room(change, settings.shares_max)
        until = change.now_us + round(settings.share_seconds * SECOND_US)
        change.put(Share(number, call.known.number, digest(key), change.now_us, until))

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


def open_shared(service: Service, key: str) -> Opened | None:
    """Open the file of a key, or return None.

    It opens nothing any more when its time is over, when the file is gone, or when whoever shared
    it may not read it any more.
    """
    with service.store.reading() as view:
        library = view.library
        found = library.share(digest(key))
        user = library.user(found[1].user) if found else None
        if found is None or user is None or found[1].expires_us <= service.now_us:
            return None
        reading = Reading(view, user, service)
        try:
            return open_file(reading, reading.file(found[1].node))
        except LibraryError:
            return None


def _make_room(change: Change, shares_max: int) -> None:
    """End the shares that would be first to end, until there is room for one."""
    by_end = sorted((s.expires_us, number) for number, s in change.library.shares())
    for expires_us, number in by_end[: max(0, len(by_end) + 1 - shares_max)]:
        change.end(Kind.SHARE, number, "expired" if expires_us <= change.now_us else "full")
