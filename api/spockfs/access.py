"""Who may use the filesystem, and what for."""

import errno
from typing import Final

from api.credentials import Holders, Secrets
from api.spockfs.errors import Refusal

FACE: Final = "spockfs"
_CHALLENGE: Final = [(b"www-authenticate", b'Basic realm="spockfs", charset="UTF-8"')]
_REMEMBERED_MAX: Final = 256


class Gate:
    """Tells who a client is. Without any users, anyone may do everything.

    Args:
        users: secrets by name, presented with it by Basic, or alone as a bearer token.
    """

    def __init__(self, users: Secrets) -> None:
        self._holders = Holders(users)
        # Each request is one operation of a filesystem: few would bear a digest for each.
        self._remembered: dict[bytes, tuple[str, bool]] = {}

    def author(self, authorization: bytes, *, writes: bool) -> str:
        """Return the author that a client is in the log.

        Args:
            authorization: the field of that name, or nothing.
            writes: whether the client wants to change something.

        Raises:
            Refusal: 401 for strangers, 403 for those who may only read.
        """
        if not self._holders:
            return FACE
        found = self._remembered.get(authorization) or self._find(authorization)
        author, may_write = found
        if writes and not may_write:
            raise Refusal(errno.EACCES, "this user may only read")
        return author

    def _find(self, authorization: bytes) -> tuple[str, bool]:
        holder = self._holders.find(authorization.decode("latin-1"))
        if holder is None:
            raise Refusal(errno.EACCES, "name and password are needed", 401, _CHALLENGE)
        author = f"{FACE}:{holder.name}" if holder.name else FACE
        if len(self._remembered) >= _REMEMBERED_MAX:
            self._remembered.clear()
        self._remembered[authorization] = author, holder.may_write
        return author, holder.may_write
