"""Where a server listens."""

from typing import NamedTuple

from api.listening import Bound


class Places(NamedTuple):
    """Addresses that are taken.

    Attributes:
        feed: those of the feed and the faces beside it.
        spockfs: those of the filesystem, if there is one.
    """

    feed: Bound
    spockfs: Bound | None
