"""Makes thumbnails of open files. Runs in the worker, because hostile files come here.

Pictures are opened as one of a few formats and nothing else. Videos are opened as the format that
their first bytes say, so that no playlist can name other files, and read through one descriptor.
"""

import importlib
import io
import warnings
from collections.abc import Sequence
from typing import BinaryIO, Final

import av
import pillow_heif
from PIL import Image, ImageOps

FORMATS: Final = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "BMP", "TIFF")
PIXELS_MAX: Final = 64_000_000
QUALITY: Final = 80

HEAD_BYTES: Final = 1_024
"""By which it is told what a file is."""

_SEEK_SECONDS: Final = 1.0
_FRAMES_MAX: Final = 50
_TS: Final = 0x47
_TS_PACKETS: Final = ((188, 0), (192, 4), (204, 0))
"""Bytes of a packet, and where its first byte of synchronisation is: plain, Blu-ray, and DVB."""

_TS_MIN: Final = 4
"""Packets that must begin so: one byte alone is the same in every 256th file."""

for _name in ("Avif", "Tiff", "WebP"):  # Pillow loads only the others by itself
    importlib.import_module(f"PIL.{_name}ImagePlugin")
pillow_heif.register_heif_opener(thumbnails=False)
Image.MAX_IMAGE_PIXELS = PIXELS_MAX
warnings.simplefilter("error", Image.DecompressionBombWarning)


class UnrenderableError(Exception):
    """No picture can be made of a file; the message says why."""


def render(file: BinaryIO, boxes: Sequence[int], *, webp: bool) -> list[bytes]:
    """Return thumbnails. The file is decoded once, whatever is wanted of it.

    Args:
        file: a picture or a video, open for reading.
        boxes: for each thumbnail, what neither of its sides is longer than, pixels.
        webp: whether as WebP; else as JPEG.

    Raises:
        UnrenderableError: the file is neither, or broken.
    """
    head = file.read(HEAD_BYTES)
    file.seek(0)
    try:
        kind = video_format(head)
        image = _frame(file, kind) if kind else _picture(file, max(boxes))
        made: dict[int, bytes] = {}
        for box in sorted(boxes, reverse=True):  # each is made of the next larger one
            image.thumbnail((box, box), reducing_gap=2.0)
            made[box] = _encode(image, webp=webp)
        return [made[box] for box in boxes]
    except UnrenderableError:
        raise
    except Exception as error:  # decoders raise anything
        raise UnrenderableError(f"{type(error).__name__}: {error}") from error


def video_format(head: bytes) -> str | None:
    """Return FFmpeg's name of the container that a file begins with; None: it is no video."""
    if is_picture(head):
        return None
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
        return None if head[8:12] in _PICTURE_BRANDS else "mov"
    for magic, at, name in _MAGICS:
        if head[at : at + len(magic)] == magic:
            return name
    return "mpegts" if any(_is_stream(head[at::size]) for size, at in _TS_PACKETS) else None


def is_picture(head: bytes) -> bool:
    """Say whether a file begins as pictures do, and as nothing else does."""
    if head[:2] == b"BM":  # which is short; what follows the size is 0 in pictures
        return head[6:10] == bytes(4)
    return head.startswith(_PICTURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _is_stream(firsts: bytes) -> bool:
    return len(firsts) >= _TS_MIN and set(firsts) == {_TS}


_PICTURES: Final = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
)


_PICTURE_BRANDS: Final = frozenset(
    (b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
)
_MAGICS: Final = (
    (b"\x1a\x45\xdf\xa3", 0, "matroska"),
    (b"AVI ", 8, "avi"),
    (b"FLV\x01", 0, "flv"),
    (b"\x00\x00\x01\xba", 0, "mpeg"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 0, "asf"),
    (b"OggS", 0, "ogg"),
)


def _picture(file: BinaryIO, box: int) -> Image.Image:
    """Open a picture and make it small as early as possible, then turn it upright."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > PIXELS_MAX:
        raise UnrenderableError("it has too many pixels")
    # By itself, `thumbnail` has twice the sides decoded: four times the work, and none sees it.
    image.draft(None, (box, box))
    is_deep = image.mode.startswith("I;16")  # what Pillow cannot reduce
    image.thumbnail((box, box), reducing_gap=None if is_deep else 2.0)
    return ImageOps.exif_transpose(_with_bytes(image) if is_deep else image)


def _with_bytes(image: Image.Image) -> Image.Image:
    """Return a picture of 16 bits a pixel with 8; by itself, Pillow has all above 255 white."""
    return image.convert("I").point(lambda value: value * (1 / 257)).convert("L")


def _frame(file: BinaryIO, kind: str) -> Image.Image:
    """Return a picture from near the begin of a video that is not quite black, turned upright."""
    with av.open(file, "r", format=kind, metadata_errors="replace") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.skip_frame = "NONKEY"
        if stream.codec_context.width * stream.codec_context.height > PIXELS_MAX:
            raise UnrenderableError("it has too many pixels")
        image, rotation = None, 0
        for nth, frame in enumerate(container.decode(stream)):
            image, rotation = _image_of(frame), frame.rotation
            if nth == _FRAMES_MAX or (frame.time or 0) >= _SEEK_SECONDS or _is_bright(image):
                break
        if image is None:
            raise UnrenderableError("it has no frames")
        return image.rotate(rotation, expand=True) if rotation else image


def _image_of(frame: av.VideoFrame) -> Image.Image:
    image: Image.Image = frame.to_image()  # type: ignore[no-untyped-call]  # it has no types
    return image


def _is_bright(image: Image.Image) -> bool:
    low, high = image.convert("L").resize((16, 16)).getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return high - low > 16  # noqa: PLR2004 - of 255


def _encode(image: Image.Image, *, webp: bool) -> bytes:
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    if has_alpha:
        image = image.convert("RGBA")
        if not webp:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
    made = io.BytesIO()
    mode = "RGBA" if has_alpha and webp else "RGB"
    image.convert(mode).save(made, "WEBP" if webp else "JPEG", quality=QUALITY)
    return made.getvalue()
