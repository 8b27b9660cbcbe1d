"""Names that never become nodes."""

import fnmatch
import re
from collections.abc import Iterable

DEFAULT_PATTERNS = (
    ".DS_Store",
    ".Spotlight-V100",
    ".Trashes",
    ".fseventsd",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$RECYCLE.BIN",
    "@eaDir",
    "#recycle",
    ".@__thumb",
    "*.__tmp__",
    ".nasfeed",
    ".nasfeed-sync-*",
)
"""What wcpan.drive.feed 1.6.0, whose configuration this program takes, leaves out by default; the
directory in which faces write what is to be renamed into place; and cookies of barriers."""

_WILD = re.compile(r"[*?\[]")


class Excludes:
    """Says whether a name is left out of the feed.

    The patterns are those of `fnmatch.fnmatchcase`: `*`, `?`, `[set]`, `[!set]`, against the whole
    name, upper and lower case being different. `?` is one character, also of several bytes; a byte
    that is not UTF-8 counts as a character.

    Args:
        patterns: the operator's, beside the default ones.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self.patterns = tuple(dict.fromkeys((*DEFAULT_PATTERNS, *patterns)))
        wild = [pattern for pattern in self.patterns if _WILD.search(pattern)]
        self._plain = frozenset(p for p in self.patterns if p not in wild)
        self._matches = re.compile("|".join(map(fnmatch.translate, wild))).match

    def __call__(self, name: bytes) -> bool:
        """Return whether an entry of this raw name, and all below it, is left out."""
        return self.hides(_decode(name))

    def hides(self, name: str) -> bool:
        """As a call, for a name that `os.scandir` has decoded already."""
        return name in self._plain or self._matches(name) is not None


# Not os.fsencode: the same configuration must mean the same in any locale.
def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
