import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image
from pymediainfo import MediaInfo

from watcher.metadata.headers import size_from_header
from watcher.metadata.media import Media, media_of, parse_answer, wants_media
from watcher.metadata.mime import MimeTypes
from watcher.metadata.task import Outcome, Status, Task

Probe = Callable[[Task], Outcome]
TaskOf = Callable[..., Task]


def _bytes_of(kind: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new(mode, (61, 43)).save(out, kind, **options)
    return out.getvalue()


def _animation(kind: str) -> bytes:
    out = io.BytesIO()
    first, *others = (Image.new("RGB", (61, 43), colour) for colour in ("red", "blue", "green"))
    first.save(out, kind, save_all=True, append_images=others, duration=100)
    return out.getvalue()


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x112] = 6
    return _bytes_of("JPEG", exif=exif)


def _top_down() -> bytes:
    content = bytearray(_bytes_of("BMP"))
    struct.pack_into("<i", content, 22, -43)
    return bytes(content)


_IMAGES = {
    "png": _bytes_of("PNG"),
    "png grey with alpha": _bytes_of("PNG", "LA"),
    "png 16 bits": _bytes_of("PNG", "I;16"),
    "apng": _animation("PNG"),
    "gif": _bytes_of("GIF"),
    "gif animated": _animation("GIF"),
    "bmp": _bytes_of("BMP"),
    "bmp 1 bit": _bytes_of("BMP", "1"),
    "bmp with alpha": _bytes_of("BMP", "RGBA"),
    "bmp top-down": _top_down(),
    "jpeg": _bytes_of("JPEG"),
    "jpeg progressive": _bytes_of("JPEG", progressive=True),
    "jpeg grey": _bytes_of("JPEG", "L"),
    "jpeg cmyk": _bytes_of("JPEG", "CMYK"),
    "jpeg rotated by exif": _rotated(),
    "jpeg with comment": _bytes_of("JPEG", comment=b"x" * 60_000),
    "mpo": _animation("MPO"),
}


def _peer(content: bytes) -> tuple[int, int] | None:
    """Answer as the program whose feed format this is: MediaInfo, first image track."""
    info = MediaInfo.parse(
        io.BytesIO(content), mediainfo_options={"File_TestContinuousFileNames": "0"}
    )
    for track in info.image_tracks[:1]:
        if isinstance(track.width, int) and isinstance(track.height, int):
            return track.width, track.height
    return None


def _ours(path: Path, content: bytes) -> tuple[str, tuple[int, int] | None]:
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        mime = MimeTypes().of(fd)
        return mime, size_from_header(fd, mime)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", _IMAGES)
def test_the_header_says_what_mediainfo_says(name: str, tmp_path: Path) -> None:
    _, ours = _ours(tmp_path / "image", _IMAGES[name])
    assert ours == _peer(_IMAGES[name]) == (61, 43)


@pytest.mark.parametrize("name", ["png", "gif", "jpeg", "jpeg rotated by exif"])
def test_the_header_of_a_cut_off_image_says_what_mediainfo_says(name: str, tmp_path: Path) -> None:
    for length in range(1, min(800, len(_IMAGES[name])), 3):
        part = _IMAGES[name][:length]
        _, ours = _ours(tmp_path / "image", part)
        assert ours == _peer(part), length


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {}), ("RGB", {"lossless": True}), ("RGBA", {}), ("RGB", {"exif": b"Exif\0\0MM"})],
    ids=str,
)
def test_webp_gets_the_dimensions_that_mediainfo_does_not_know(
    mode: str, options: dict[str, object], tmp_path: Path
) -> None:
    content = _bytes_of("WEBP", mode, **options)
    assert _ours(tmp_path / "image", content) == ("image/webp", (61, 43))
    assert _peer(content) is None


def test_animated_webp_gets_the_dimensions_of_its_canvas(tmp_path: Path) -> None:
    assert _ours(tmp_path / "image", _animation("WEBP")) == ("image/webp", (61, 43))


@pytest.mark.parametrize(
    ("kind", "suffix"), [("TIFF", "tif"), ("AVIF", "avif"), ("JPEG2000", "jp2"), ("TGA", "tga")]
)
def test_other_images_are_left_to_mediainfo(
    probe: Probe, task_of: TaskOf, tmp_path: Path, kind: str, suffix: str
) -> None:
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(_bytes_of(kind))
    outcome = probe(task_of(path))
    assert (outcome.width, outcome.height, outcome.duration_ms) == (61, 43, 0)


def test_numbered_images_are_not_a_film(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    paths = [tmp_path / f"scan{number:04}.tif" for number in range(1, 4)]
    for path in paths:
        path.write_bytes(_bytes_of("TIFF"))
    assert [probe(task_of(path)).width for path in paths] == [61, 61, 61]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xe0\0\0" * 500,
        b"\xff\xd8" + b"\xff" * 5000,
        b"\xff\xd8" + b"\xff\xd0" * 5000,
        b"\xff\xd8\xff\xe1\0\2" + b"\xff\xe1\0\2" * 5000,
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 100,
        b"GIF89a" + bytes(20),
        b"BM" + b"\xff" * 100,
        b"RIFF\xff\xff\xff\xffWEBPVP8L" + bytes(20),
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(20),
        b"RIFF\xff\xff\xff\xffWEBPXXXX" + bytes(20),
    ],
    ids=repr,
)
def test_a_broken_header_gives_no_size(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        for kind in ("png", "gif", "bmp", "webp", "jpeg", "tiff"):
            assert size_from_header(fd, f"image/{kind}") is None
    finally:
        os.close(fd)


def test_an_image_bomb_costs_nothing(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    text = b"\0\0\0\0"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 6, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + header + text + b"\0\0\x10\0zTXtx\0\0" + bytes(5000)
    )
    outcome = probe(task_of(path))
    assert (outcome.status, outcome.width, outcome.height) == (Status.DONE, 60_000, 60_000)


def _video(path: Path, kind: str, codec: str) -> None:
    with av.open(os.fspath(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(50):
            container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("kind", "codec", "mime"),
    [
        ("mp4", "mpeg4", "video/mp4"),
        ("matroska", "mpeg4", "video/x-matroska"),
        ("avi", "mpeg4", "video/x-msvideo"),
    ],
)
def test_a_video_has_dimensions_and_a_duration_as_the_peer_says(
    probe: Probe, task_of: TaskOf, tmp_path: Path, kind: str, codec: str, mime: str
) -> None:
    path = tmp_path / "video"
    _video(path, kind, codec)
    outcome = probe(task_of(path))
    info = MediaInfo.parse(os.fspath(path))
    assert outcome.mime == mime
    assert outcome.duration_ms == int(float(info.general_tracks[0].duration))
    assert (outcome.width, outcome.height) == (64, 48)
    assert 1900 <= outcome.duration_ms <= 2100


def test_a_video_with_an_undecodable_name_is_described(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    _video(tmp_path / "video", "mp4", "mpeg4")
    path = os.fsencode(tmp_path) + b"/\xe9t\xe9.mp4"
    (tmp_path / "video").rename(os.fsdecode(path))
    outcome = probe(task_of(path))
    assert (outcome.status, outcome.width) == (Status.DONE, 64)


def test_a_cut_off_video_keeps_hash_and_type(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    path = tmp_path / "video.mp4"
    _video(path, "mp4", "mpeg4")
    os.truncate(path, 100)
    outcome = probe(task_of(path))
    assert (outcome.mime, outcome.width, outcome.duration_ms) == ("video/mp4", 0, 0)
    assert len(outcome.hash) == 16


@pytest.mark.parametrize(
    ("content", "mime"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg" width="5" height="6"></svg>', "image/svg+xml"),
        (b'/* XPM */\nstatic char *a[] = {\n"1 1 1 1",\n"a c #000",\n"a"};\n', "image/x-xpixmap"),
    ],
    ids=["svg", "xpm"],
)
def test_what_mediainfo_does_not_know_never_reaches_it(
    content: bytes, mime: str, tmp_path: Path
) -> None:
    assert _ours(tmp_path / "a", content) == (mime, None)
    assert not wants_media(mime)
    assert _peer(content) is None


@pytest.mark.parametrize(
    ("answer", "mime", "media"),
    [
        ("2000|V64x48|", "video/mp4", Media(64, 48, 2000)),
        ("2000.500|V64x48|V1x1|", "video/mp4", Media(64, 48, 2000)),
        ("|V64x48|", "video/mp4", Media()),
        ("2000|", "video/mp4", Media()),
        ("2000|Vx48|", "video/mp4", Media(0, 0, 0)),
        ("|Ix|", "image/webp", Media()),
        ("|I5x6|I7x8|", "image/tiff", Media(5, 6)),
        ("20|V64x48|I5x6|", "image/tiff", Media(5, 6)),
        ("", "image/tiff", Media()),
        ("garbage", "video/mp4", Media()),
    ],
)
def test_answers_of_mediainfo_are_understood(answer: str, mime: str, media: Media) -> None:
    assert parse_answer(answer, mime) == media


def test_media_of_a_text_file_that_calls_itself_an_image_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"no image\n")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert media_of(fd, "image/png") == Media()
    finally:
        os.close(fd)
