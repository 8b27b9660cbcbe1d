"""The kinds of files that the media library knows: bits, as its clients have them."""

import mimetypes
from enum import IntEnum
from typing import Final

_TABLE: Final = mimetypes.MimeTypes()
"""Python's own table; `mimetypes.guess_type` would read that of the machine, which may differ."""

for _type, _ending in (
    ("image/heic", ".heic"),
    ("image/heif", ".heif"),
    ("image/avif", ".avif"),
    ("image/webp", ".webp"),
    ("image/jxl", ".jxl"),
    ("image/x-adobe-dng", ".dng"),
    ("video/x-matroska", ".mkv"),
    ("video/webm", ".webm"),
    ("video/mp4", ".m4v"),
    ("video/mp2t", ".mts"),
    ("video/3gpp", ".3gp"),
    ("audio/flac", ".flac"),
    ("audio/mp4", ".m4a"),
    ("audio/ogg", ".ogg"),
    ("audio/opus", ".opus"),
):
    _TABLE.add_type(_type, _ending)


class FileType(IntEnum):
    """What a file is."""

    IMAGE = 1
    GIF = 2
    VIDEO = 4
    AUDIO = 8
    FILE = 16


_BY_MAJOR: Final = {
    "image": FileType.IMAGE,
    "video": FileType.VIDEO,
    "audio": FileType.AUDIO,
}

_NO_MEDIA: Final = frozenset(
    {"image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon", "image/x-tga"}
)
"""Programs, small signs, and what is told by no magic number: any bytes may be taken for a TGA."""


def mime_of(name: bytes) -> str:
    """Return the MIME type that a file's name stands for; that of mere bytes when unknown."""
    text = name.decode("utf-8", "replace").lower()
    found, _ = _TABLE.guess_type(f"a.{text.rpartition('.')[2]}", strict=False)
    return found or "application/octet-stream"


def type_of(mime: str, name: bytes) -> FileType:
    """Return what a file is.

    Args:
        mime: type that its content was found to be; "" when that is not known yet.
        name: of the file, raw.
    """
    known = mime or mime_of(name)
    if known == "image/gif":
        return FileType.GIF
    if known in _NO_MEDIA:
        return FileType.FILE
    return _BY_MAJOR.get(known.partition("/")[0], FileType.FILE)
