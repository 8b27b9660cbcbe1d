"""Dimensions from the first bytes of the common image formats.

MediaInfo takes 2-3 ms a picture and has crashed and looped on hostile ones; here a few bytes are
read at fixed places. Whatever is not entirely as the format wants it is left to MediaInfo.
EXIF orientation is not applied, as MediaInfo does not.
"""

import os
import struct
from collections.abc import Callable

Size = tuple[int, int]

_BITS_14 = (1 << 14) - 1
_BMP_HEADERS = {struct.pack("<I", size) for size in (40, 52, 56, 108, 124)}
_JPEG_SEGMENTS_MAX = 1000
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0-SOF15 without DHT, JPG and DAC."""
_JPEG_STRANGE = frozenset({0x01, *range(0xD0, 0xDB), 0xFF})
"""What has no length or may not come before the frame header: TEM, RST0-RST7, SOI, EOI, SOS, and
fill bytes, which MediaInfo does not accept."""


def size_from_header(fd: int, mime: str) -> Size | None:
    """Return the width and height of an image, in pixels.

    Args:
        fd: of the image; its offset is not used.
        mime: its type, as libmagic says.

    Returns:
        None if the format is not one of those known here, or the header is not as it should be.

    Raises:
        OSError: it cannot be read.
    """
    read = _READERS.get(mime)
    size = read(fd) if read else None
    return size if size and size[0] > 0 and size[1] > 0 else None


def _read(fd: int, length: int, offset: int = 0) -> bytes:
    """Return exactly `length` bytes, or none if the file ends before."""
    head = os.pread(fd, length, offset)
    return head if len(head) == length else b""


def _png(fd: int) -> Size | None:
    """PNG specification (W3C), 5.2 and 11.2.1: the signature, then IHDR with 13 bytes and a CRC."""
    head = _read(fd, 33)
    if not head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        return None
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def _gif(fd: int) -> Size | None:
    """GIF89a specification, 17 and 18: the signature, then the logical screen."""
    head = _read(fd, 13)
    if not head.startswith((b"GIF87a", b"GIF89a")):
        return None
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _bmp(fd: int) -> Size | None:
    """BITMAPINFOHEADER and its successors; a negative height means top-down."""
    head = _read(fd, 54)
    if not head.startswith(b"BM") or head[14:18] not in _BMP_HEADERS:
        return None
    width, height = struct.unpack_from("<ii", head, 18)
    return width, abs(height)


def _webp(fd: int) -> Size | None:
    """RFC 9649: a canvas, or one lossless or lossy image."""
    head = _read(fd, 30)
    if not head.startswith(b"RIFF") or head[8:12] != b"WEBP":
        return None
    return _webp_chunk(head[12:16], head[20:])


def _webp_chunk(kind: bytes, data: bytes) -> Size | None:
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")
    if kind == b"VP8L" and data.startswith(b"\x2f"):
        bits = int.from_bytes(data[1:5], "little")
        return 1 + (bits & _BITS_14), 1 + (bits >> 14 & _BITS_14)
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 6)
        return width & _BITS_14, height & _BITS_14
    return None


def _jpeg(fd: int) -> Size | None:
    """ITU T.81, annex B: walk the marker segments to the frame header."""
    if _read(fd, 2) != b"\xff\xd8":
        return None
    offset = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        head = _read(fd, 9, offset)
        if not head.startswith(b"\xff") or head[1] in _JPEG_STRANGE:
            return None
        length = 2 + int.from_bytes(head[2:4], "big")
        if head[1] in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", head, 5)
            return (width, height) if _read(fd, length, offset) else None
        offset += length
    return None


_READERS: dict[str, Callable[[int], Size | None]] = {
    "image/png": _png,
    "image/gif": _gif,
    "image/bmp": _bmp,
    "image/webp": _webp,
    "image/jpeg": _jpeg,
}
