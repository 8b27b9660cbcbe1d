"""Names that people give, as names on a disk that harm nobody."""

import itertools
import re
import unicodedata
from collections.abc import Callable, Container, Iterator
from typing import Final

from api.beneath.paths import NAME_MAX
from api.beneath.staging import OWN

_FORBIDDEN: Final = re.compile(r'[/\\\0-\x1f\x7f<>:"|?*]')
"""What Linux or, through SMB, Windows cannot have in a name."""

_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")

_ROOM: Final = 16
"""Bytes kept free for a number that makes a name unique."""


def safe_name(name: str, fallback: str) -> bytes:
    """Return a name for the disk that is as near to a given one as can be.

    Args:
        name: any text.
        fallback: what is taken when nothing of it can be.
    """
    text = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).strip(" ").rstrip(".")
    text = text.lstrip(".") or fallback
    if _RESERVED.fullmatch(text):
        text = f"_{text}"
    raw = text.encode("utf-8", "replace")
    stem, ending = _split(raw)
    room = NAME_MAX - _ROOM - len(ending)
    return stem[:room].decode("utf-8", "ignore").encode() + ending


def free_name(
    name: str, fallback: str, taken: Container[bytes], is_hidden: Callable[[bytes], bool]
) -> bytes:
    """Return a name for something new that is safe, free, and shown in the feed.

    Args:
        name: as somebody gave it.
        fallback: taken when that can be no name, or one that is left out of the feed.
        taken: names that are there.
        is_hidden: says of a name whether it is left out.
    """
    found = safe_name(name, fallback)
    return unique(fallback.encode() if is_hidden(found) else found, taken.__contains__)


def unique(name: bytes, is_taken: Callable[[bytes], bool]) -> bytes:
    """Return a name that is not taken: itself, or with a number before its ending.

    For the number, a name that is as long as can be loses some of its last characters.
    """
    return next(each for each in _variants(name) if not is_taken(each))


def _variants(name: bytes) -> Iterator[bytes]:
    stem, ending = _split(name)
    yield name
    for number in itertools.count(2):
        end = b" (%d)%b" % (number, ending)
        yield _shortened(stem, NAME_MAX - len(end)) + end


def _shortened(stem: bytes, room: int) -> bytes:
    """Return the beginning of a name, without half a character at its end, if it is UTF-8."""
    if len(stem) <= room:
        return stem
    cut = room
    while cut > room - 4 and stem[cut] & 0xC0 == 0x80:  # noqa: PLR2004 - continues a character
        cut -= 1
    return stem[: cut or room]


def _split(name: bytes) -> tuple[bytes, bytes]:
    stem, dot, ending = name.rpartition(b".")
    if not stem or len(ending) > _ROOM:
        return name, b""
    return stem, dot + ending


assert OWN.startswith(b"."), "safe_name leaves no name that begins with a dot"
