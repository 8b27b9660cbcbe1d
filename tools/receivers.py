"""Receivers of webhooks, as the configuration names them."""

import base64
import urllib.parse
from typing import NamedTuple

from tools.errors import OperatorError

SECRET_BYTES_MIN = 24
"""What Standard Webhooks wants of a secret."""


class Webhook(NamedTuple):
    """Who is told that there is news.

    Attributes:
        url: where messages are posted to.
        secret: signs them.
        receiver: scheme, host and port of the URL: all of it that may be shown.
    """

    url: str
    secret: bytes
    receiver: str


def shown_url(url: str) -> str:
    """Return scheme, host and port of a URL that can be called.

    Raises:
        OperatorError: it cannot.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise OperatorError(f"this is no URL: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable():
        raise OperatorError("give a URL that begins with http:// or https:// and a host")
    if parts.username or parts.password:
        raise OperatorError("a URL with a password is not called; messages are signed instead")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def secret(text: str) -> bytes:
    """Read a secret: `whsec_` and base64, or any text.

    Raises:
        OperatorError: it is too short, or no base64.
    """
    try:
        encoded = text.removeprefix("whsec_")
        found = text.encode() if encoded == text else base64.b64decode(encoded, validate=True)
    except ValueError as error:
        raise OperatorError("what follows whsec_ is no base64") from error
    if len(found) < SECRET_BYTES_MIN:
        raise OperatorError(
            f"give at least {SECRET_BYTES_MIN} bytes, such as whsec_ and what"
            " `openssl rand -base64 32` prints"
        )
    return found
