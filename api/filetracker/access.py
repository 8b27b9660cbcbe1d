"""Who may use the store, and what for."""

from typing import Final

from api.credentials import Holders, Secrets
from api.files.refusal import Refusal

FACE: Final = "filetracker"
_CHALLENGE: Final = (("www-authenticate", 'Basic realm="filetracker", charset="UTF-8"'),)


class Gate:
    """Tells who a client is. Without any tokens, anyone may do everything.

    Args:
        tokens: presented as a bearer token, or as the password of Basic authentication, with
            the name that goes with it or with none.
    """

    def __init__(self, tokens: Secrets) -> None:
        self._holders = Holders(tokens)

    def author(self, authorization: str, *, writes: bool) -> str:
        """Return the author that a client is in the log.

        Args:
            authorization: the field of that name, or nothing.
            writes: whether the client wants to change something.

        Raises:
            Refusal: 401 for strangers, 403 for those who may only read.
        """
        if not self._holders:
            return FACE
        holder = self._holders.find(authorization)
        if holder is None:
            raise Refusal(401, "a token is needed, as bearer or as a password", _CHALLENGE)
        if writes and not holder.may_write:
            raise Refusal(403, "this token may only read")
        return f"{FACE}:{holder.name}" if holder.name else FACE
