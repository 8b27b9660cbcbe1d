"""Who may use the store, and what for."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final, NamedTuple

from api.filetracker.refusal import Refusal

FACE: Final = "filetracker"
_CHALLENGE: Final = (("www-authenticate", 'Basic realm="filetracker", charset="UTF-8"'),)


class Tokens(NamedTuple):
    """Secrets by the names of those who have them.

    Attributes:
        writing: of those who may do everything.
        reading: of those who may only read.
    """

    writing: Mapping[str, str]
    reading: Mapping[str, str]


class Gate:
    """Tells who a client is. Without any tokens, anyone may do everything.

    Args:
        tokens: presented as a bearer token, or as the password of Basic authentication, with
            the name that goes with it or with none.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._known = [
            (name, _digest(secret.encode()), may_write)
            for secrets, may_write in ((tokens.writing, True), (tokens.reading, False))
            for name, secret in secrets.items()
        ]

    def author(self, authorization: str, *, writes: bool) -> str:
        """Return the author that a client is in the log.

        Args:
            authorization: the field of that name, or nothing.
            writes: whether the client wants to change something.

        Raises:
            Refusal: 401 for strangers, 403 for those who may only read.
        """
        if not self._known:
            return FACE
        name, secret = _credentials(authorization)
        given = _digest(secret)
        # All are compared, so that the time taken does not say which one was nearly right.
        matches = [
            (known, may_write)
            for known, digest, may_write in self._known
            if hmac.compare_digest(digest, given)
        ]
        for known, may_write in matches:
            if name in ("", known) or not known:
                if writes and not may_write:
                    raise Refusal(403, "this token may only read")
                return f"{FACE}:{known or name}" if known or name else FACE
        raise Refusal(401, "a token is needed, as bearer or as a password", _CHALLENGE)


def _credentials(authorization: str) -> tuple[str, bytes]:
    """Return name and secret of an Authorization field (RFC 7617, RFC 6750)."""
    scheme, _, rest = authorization.strip().partition(" ")
    if scheme.lower() == "bearer":
        return "", rest.strip().encode("latin-1")
    if scheme.lower() != "basic":
        return "", b""
    try:
        name, _, secret = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return "", b""
    return name.decode("utf-8", "replace"), secret


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
