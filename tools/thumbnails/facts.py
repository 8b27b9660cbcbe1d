"""Reads what a picture or a video says of itself: EXIF, and the tags of containers.

EXIF 2.32 (https://www.cipa.jp/std/documents/e/DC-008-Translation-2019-E.pdf); the keys of QuickTime
are Apple's (https://developer.apple.com/documentation/quicktime-file-format). Runs in the worker.
"""

import contextlib
import datetime as dt
import re
from typing import Any, BinaryIO, Final

import av
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from tools.thumbnails.render import FORMATS, HEAD_BYTES, video_format
from tools.thumbnails.wire import MediaFacts

_ORIENTATION, _MAKE, _MODEL, _EXIF, _GPS = 0x0112, 0x010F, 0x0110, 0x8769, 0x8825
_WIDTH, _HEIGHT, _FIRST_LYING = 0x0100, 0x0101, 5
_TAKEN, _OFFSET, _MAKER_NOTE = 0x9003, 0x9011, 0x927C
_TEXT_MAX: Final = 200
_PLACE: Final = re.compile(r"([+-][\d.]+)([+-][\d.]+)([+-][\d.]+)?")
_APPLE_PAIR: Final = re.compile(rb"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}")
_SOUNDS: Final = {
    b"WAVE": "wav",
    b"AIFF": "aiff",
    b"AIFC": "aiff",
    b"fLaC": "flac",
    b"ID3": "mp3",
    b"#!AMR": "amr",
}
_ORIENTATIONS: Final = {0: 1, -90: 6, 270: 6, 180: 3, -180: 3, 90: 8, -270: 8}


def read_facts(file: BinaryIO) -> MediaFacts:
    """Return what a file says; a broken one says what is wrong with it."""
    head = file.read(HEAD_BYTES)
    file.seek(0)
    try:
        kind = video_format(head) or _sound_format(head)
        return _of_video(file, kind) if kind else _of_picture(file)
    except Exception as error:  # noqa: BLE001 - decoders raise anything
        return MediaFacts(problem=f"{type(error).__name__}: {error}"[:_TEXT_MAX])


def _sound_format(head: bytes) -> str | None:
    """Return FFmpeg's name of the format of a sound file by its first bytes; None: it is none."""
    if head[:4] in (b"RIFF", b"FORM") and head[8:12] in _SOUNDS:
        return _SOUNDS[head[8:12]]
    for magic, name in _SOUNDS.items():
        if head.startswith(magic):
            return name
    if head[:1] == b"\xff" and head[1] & 0xE0 == 0xE0:  # noqa: PLR2004 - eleven bits that are set
        return "mp3" if head[1] & 0x06 else "aac"
    return None


def _of_picture(file: BinaryIO) -> MediaFacts:
    with Image.open(file, formats=FORMATS) as image:
        exif = image.getexif()
        facts = MediaFacts(orientation=_whole(exif.get(_ORIENTATION), 8))
        facts.width, facts.height = _size(image)
        _turn_as_decoders_do(facts, image.format)
        facts.make, facts.model = _text(exif.get(_MAKE)), _text(exif.get(_MODEL))
        more = exif.get_ifd(_EXIF)
        facts.captured_us = _time(_text(more.get(_TAKEN)))
        facts.offset_minutes = _zone_minutes(_text(more.get(_OFFSET)))
        note = more.get(_MAKER_NOTE)
        if isinstance(note, bytes) and note.startswith(b"Apple iOS"):
            found = _APPLE_PAIR.search(note)
            facts.pair = found[0].decode() if found else ""
        with contextlib.suppress(ValueError, TypeError, ZeroDivisionError, IndexError):
            _set_place(facts, exif.get_ifd(_GPS))
        is_gif = image.format == "GIF"
    if is_gif:
        facts.duration_ms = _gif_ms(file)
    return facts


def _size(image: Image.Image) -> tuple[int, int]:
    """Return width and height as they are stored; Pillow gives those of a TIFF as if turned."""
    if isinstance(image, TiffImageFile):
        width, height = image.tag_v2.get(_WIDTH), image.tag_v2.get(_HEIGHT)
        if isinstance(width, int) and isinstance(height, int):
            return width, height
    return image.size


def _turn_as_decoders_do(facts: MediaFacts, kind: str | None) -> None:
    """Make size and orientation fit what a client's own decoder gives.

    A client turns by the orientation what its decoder gives it. For most formats that is what is
    stored. But HEIC and AVIF say in the container how they are turned (`irot` and `imir`), which
    is part of decoding, and their EXIF orientation is to be ignored (ISO/IEC 23008-12, 6.5.10 and
    A.2; phones, browsers and libheif do so). The decoder has turned them already: so the size is
    that of the upright picture, and nothing is left to be turned. pillow-heif does the same;
    Pillow's AVIF plugin gives what is stored, with the container's turn as EXIF orientation.
    """
    if kind == "AVIF" and facts.orientation >= _FIRST_LYING:
        facts.width, facts.height = facts.height, facts.width
    if kind in ("AVIF", "HEIF"):
        facts.orientation = min(facts.orientation, 1)


def _gif_ms(file: BinaryIO) -> int:
    """Return how long a GIF moves, milliseconds; 0 if it does not. Nothing is decoded for it.

    FFmpeg counts a tenth of a second for a picture that is said to be shown for less than two
    hundredths, as browsers do.
    """
    file.seek(0)
    count, total = 0, 0
    with av.open(file, "r", format="gif", metadata_errors="replace") as container:
        stream = container.streams.video[0]
        with contextlib.suppress(av.FFmpegError):  # what is cut off, moves until there
            for packet in container.demux(stream):
                count += bool(packet.size)
                total += packet.duration or 0
        ticks = stream.time_base or 0
    return round(total * ticks * 1000) if count > 1 else 0


def _set_place(facts: MediaFacts, gps: dict[int, Any]) -> None:
    if 2 in gps and 4 in gps:  # noqa: PLR2004 - tags of the standard
        facts.latitude = _degrees(gps[2], str(gps.get(1, "N")), 90)
        facts.longitude = _degrees(gps[4], str(gps.get(3, "E")), 180)
    if 6 in gps:  # noqa: PLR2004
        below = gps.get(5) in (1, b"\x01")
        facts.altitude = -float(gps[6]) if below else float(gps[6])


def _of_video(file: BinaryIO, kind: str) -> MediaFacts:
    with av.open(file, "r", format=kind, metadata_errors="replace") as container:
        facts = MediaFacts()
        tags = {key.lower(): value for key, value in container.metadata.items()}
        if container.duration:
            facts.duration_ms = container.duration * 1000 // av.time_base
        if container.streams.video:
            stream = container.streams.video[0]
            facts.width, facts.height = stream.codec_context.width, stream.codec_context.height
            for frame in container.decode(stream):
                facts.orientation = _ORIENTATIONS.get(frame.rotation, 0)
                break
        _set_tags(facts, tags)
        return facts


def _set_tags(facts: MediaFacts, tags: dict[str, str]) -> None:
    apple = "com.apple.quicktime."
    facts.make = _text(tags.get(f"{apple}make") or tags.get("make"))
    facts.model = _text(tags.get(f"{apple}model") or tags.get("model"))
    facts.pair = _text(tags.get(f"{apple}content.identifier"))
    taken = tags.get(f"{apple}creationdate") or tags.get("creation_time") or ""
    with contextlib.suppress(ValueError, OverflowError):
        moment = dt.datetime.fromisoformat(taken)
        offset = moment.utcoffset()
        facts.offset_minutes = None if offset is None else round(offset.total_seconds() / 60)
        facts.captured_us = _us(moment.replace(tzinfo=dt.UTC))
    place = _PLACE.match(tags.get(f"{apple}location.iso6709") or tags.get("location", ""))
    if place:
        facts.latitude, facts.longitude = float(place[1]), float(place[2])
        facts.altitude = float(place[3]) if place[3] else None


def _degrees(parts: Any, reference: str, most: int) -> float | None:  # noqa: ANN401 - as Pillow has them
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    return (-value if reference[:1] in ("S", "W") else value) if abs(value) <= most else None


def _time(text: str) -> int | None:
    try:
        moment = dt.datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return _us(moment)


def _us(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


_ZONE_MAX: Final = 14 * 60
"""Minutes; no zone of today is farther from UTC."""


def _zone_minutes(text: str) -> int | None:
    found = re.fullmatch(r"([+-])(\d\d):(\d\d)", text)
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    if minutes > _ZONE_MAX:
        return None
    return -minutes if found[1] == "-" else minutes


def _whole(value: object, most: int) -> int:
    return value if isinstance(value, int) and 0 <= value <= most else 0


def _text(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return text.strip("\0 ")[:_TEXT_MAX]
