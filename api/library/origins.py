"""Refuses what pages of other places have a browser ask for, with the cookie of who looks at them.

The cookie is SameSite=Strict, but a site is a host with all its ports: another service of the same
machine is no other site. See https://www.w3.org/TR/fetch-metadata/ and RFC 6454.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from api.library.wire import NO_RIGHT, LibraryError

_HARMLESS: Final = ("GET", "HEAD", "OPTIONS")
_OWN: Final = ("same-origin", "none")


def check_origin(method: str, fields: Mapping[str, str]) -> None:
    """Refuse to change anything for a page of another place.

    What is no browser says nothing of a place, and may ask for anything.

    Args:
        method: of the request.
        fields: of its header.

    Raises:
        LibraryError: it comes from elsewhere.
    """
    if method in _HARMLESS:
        return
    site, origin = fields.get("sec-fetch-site"), fields.get("origin")
    if site is not None:
        is_own = site in _OWN
    else:  # browsers tell the site only over TLS, and to their own machine
        is_own = origin is None or urlsplit(origin).netloc == fields.get("host")
    if not is_own:
        raise LibraryError(NO_RIGHT, 403)
