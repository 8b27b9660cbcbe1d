"""Dimensions and duration: from the header where that is enough, else from MediaInfo."""

import os
from typing import NamedTuple

from watcher.metadata.headers import size_from_header

_TEMPLATE = "General;%Duration%|\nVideo;V%Width%x%Height%|\nImage;I%Width%x%Height%|"
"""What MediaInfo is asked to print: far cheaper than its XML, which broken tags make unreadable."""
_UNKNOWN_TO_MEDIAINFO = frozenset({"image/svg+xml", "image/x-xpixmap"})
"""Text formats that MediaInfo has no parser for; icon themes hold tens of thousands of them."""


class Media(NamedTuple):
    """What is seen and how long; 0 for what does not apply or is not known."""

    width: int = 0
    height: int = 0
    duration_ms: int = 0


class MediaError(Exception):
    """MediaInfo failed; the message says how."""


NOTHING = Media()


def wants_media(mime: str) -> bool:
    """Whether files of a type have dimensions that can be found out."""
    return mime.startswith(("image/", "video/")) and mime not in _UNKNOWN_TO_MEDIAINFO


def media_of(fd: int, mime: str) -> Media:
    """Find out the dimensions of an image or video, and the duration of a video.

    Args:
        fd: of the file; its offset is changed.
        mime: its type, as libmagic says.

    Returns:
        What is known; all 0 where a needed part is missing.

    Raises:
        MediaError: MediaInfo failed.
        OSError: the file cannot be read.
    """
    size = size_from_header(fd, mime)
    if size:
        return Media(*size)
    return parse_answer(_ask_mediainfo(fd), mime)


def _ask_mediainfo(fd: int) -> str:
    """Let MediaInfo read through a Python file: it never sees a name.

    So names need not be UTF-8, numbered pictures are not taken for a film, and no other file
    that the name or the content might suggest is ever opened.
    """
    from pymediainfo import MediaInfo  # noqa: PLC0415 - costs 15 MB, and few files need it

    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", buffering=0, closefd=False) as file:
        try:
            return MediaInfo.parse(file, output=_TEMPLATE)
        except RuntimeError as error:
            raise MediaError(f"MediaInfo: {error}") from error


def parse_answer(answer: str, mime: str) -> Media:
    """Read what `_TEMPLATE` made MediaInfo print.

    Args:
        answer: duration of the whole, then the dimensions of each video and each image track.
        mime: decides which track counts.

    Returns:
        All 0 if the track, or one of its values, is missing.
    """
    whole, *tracks = answer.split("|")
    if mime.startswith("image/"):
        return _first_track(tracks, "I")
    size = _first_track(tracks, "V")
    duration = _integer(whole.partition(".")[0])
    return size._replace(duration_ms=duration) if size != NOTHING and duration else NOTHING


def _first_track(tracks: list[str], kind: str) -> Media:
    for track in tracks:
        if track.strip().startswith(kind):
            width, _, height = track.strip()[1:].partition("x")
            media = Media(_integer(width), _integer(height))
            return media if media.width and media.height else NOTHING
    return NOTHING


def _integer(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
