"""Secrets that clients show to a face: as a bearer token or as the password of Basic."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple


class Secrets(NamedTuple):
    """Secrets by the names of those who have them.

    Attributes:
        writing: of those who may do everything.
        reading: of those who may only read.
    """

    writing: Mapping[str, str]
    reading: Mapping[str, str]


class Holder(NamedTuple):
    """Who has a secret.

    Attributes:
        name: of the one, possibly "".
        may_write: whether he may do everything.
    """

    name: str
    may_write: bool


class Holders:
    """Finds out who a client is.

    Args:
        secrets: by name; a secret of the name "" is good for any name.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._known = [
            (name, _digest(secret.encode()), may_write)
            for given, may_write in ((secrets.writing, True), (secrets.reading, False))
            for name, secret in given.items()
        ]

    def __bool__(self) -> bool:
        return bool(self._known)

    def find(self, authorization: str) -> Holder | None:
        """Return whose secret an Authorization field has, or None for strangers."""
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
                return Holder(known or name, may_write)
        return None


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
