"""Thumbnails and facts of real media, by real worker processes; and what hostile files get."""

import contextlib
import datetime as dt
import io
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import av
import pillow_heif
import pytest
from PIL import Image

from tests.serving import DEADLINE_SECONDS, wait_until
from tools.thumbnails.pool import TRIES, Pool
from tools.thumbnails.wire import Order, Result

pillow_heif.register_heif_opener()

BOTH = Order((100, 800), webp=False, facts=True)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(1)
    yield pool
    pool.close()


def do(pool: Pool, path: Path, order: Order = BOTH) -> Result:
    fd = os.open(path, os.O_RDONLY)
    try:
        return pool.do(fd, order)
    finally:
        os.close(fd)


def picture(width: int = 1200, height: int = 900) -> Image.Image:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def video(path: Path, options: dict[str, str] | None = None, /, **tags: str) -> None:
    with av.open(str(path), "w", options=options or {}) as container:
        container.metadata.update(tags)
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(20):
            frame = av.VideoFrame.from_image(picture(320, 240))  # type: ignore[no-untyped-call]  # it has none
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def is_red(image: Image.Image, x: int, y: int) -> bool:
    pixel: Any = image.convert("RGB").getpixel((x, y))
    return bool(pixel[0] > 150 > pixel[2])


@pytest.mark.parametrize("ending", ["jpg", "png", "gif", "webp", "avif", "heic", "bmp", "tiff"])
def test_pictures_of_every_format(pool: Pool, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    picture().save(path)
    result = do(pool, path)
    assert result.problem == ""
    small, large = map(opened, result.images)
    assert (small.size, large.size, small.format) == ((100, 75), (800, 600), "JPEG")
    assert is_red(small, 10, 10)
    assert not is_red(small, 90, 10)
    assert result.facts is not None
    assert (result.facts.width, result.facts.height) == (1200, 900)
    [webp] = do(pool, path, Order((100,), webp=True, facts=False)).images
    assert opened(webp).format == "WEBP"


@pytest.mark.parametrize(("mode", "order"), [("I;16", "little"), ("I;16B", "big")])
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_a_picture_with_16_bits_a_pixel_keeps_its_shades(
    pool: Pool, tmp_path: Path, ending: str, mode: str, order: Literal["little", "big"]
) -> None:
    row = b"".join(shade.to_bytes(2, order) * 600 for shade in (0x4000, 0xC000))
    Image.frombytes(mode, (1200, 900), row * 900).save(tmp_path / f"a.{ending}")
    result = do(pool, tmp_path / f"a.{ending}")
    assert result.problem == ""
    small, large = map(opened, result.images)
    assert (small.size, large.size) == ((100, 75), (800, 600))
    dark, bright = (small.convert("L").getpixel((x, 40)) for x in (10, 90))
    assert dark == pytest.approx(0x40, abs=4)
    assert bright == pytest.approx(0xC0, abs=4)


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "avi", "ts", "m2ts"])
def test_videos_of_every_container(pool: Pool, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    video(path)
    result = do(pool, path)
    assert result.problem == ""
    small = opened(result.images[0])
    assert small.size == (100, 75)
    assert is_red(small, 10, 40)
    assert result.facts is not None
    assert (result.facts.width, result.facts.height) == (320, 240)
    assert 1_500 < result.facts.duration_ms < 2_500


def test_a_small_picture_keeps_its_size(pool: Pool, tmp_path: Path) -> None:
    picture(30, 20).save(tmp_path / "a.png")
    assert [opened(data).size for data in do(pool, tmp_path / "a.png").images] == [(30, 20)] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_a_picture_is_turned_upright(
    pool: Pool, tmp_path: Path, ending: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture().save(tmp_path / f"a.{ending}", exif=exif)
    result = do(pool, tmp_path / f"a.{ending}")
    small = opened(result.images[0])
    assert small.size == ((100, 75) if orientation < 5 else (75, 100))
    # Where the left half of what is stored comes to lie (EXIF 2.32, 4.6.4).
    x, y = {
        1: (10, 40),
        2: (90, 40),
        3: (90, 40),
        4: (10, 40),
        5: (40, 10),
        6: (40, 10),
        7: (40, 90),
        8: (40, 90),
    }[orientation]
    assert is_red(small, x, y)
    assert result.facts is not None
    assert result.facts.orientation == orientation


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        ("jpg", (1200, 900, 6)),
        ("png", (1200, 900, 6)),
        ("webp", (1200, 900, 6)),
        ("tiff", (1200, 900, 6)),
        ("heic", (900, 1200, 1)),
        ("avif", (900, 1200, 1)),
    ],
)
def test_size_and_orientation_are_those_of_what_a_decoder_gives(
    pool: Pool, tmp_path: Path, ending: str, told: tuple[int, int, int]
) -> None:
    """Those of HEIC and AVIF turn pictures themselves, as their format tells them to."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / f"a.{ending}", exif=exif.tobytes())  # HEIC is turned by bytes only
    result = do(pool, tmp_path / f"a.{ending}")
    assert result.facts is not None
    assert (result.facts.width, result.facts.height, result.facts.orientation) == told
    small = opened(result.images[0])
    assert small.size == (75, 100)
    assert is_red(small, 40, 10)


def test_a_heic_that_is_turned_by_its_exif_alone_is_not_turned(pool: Pool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "a.heic", exif=exif)
    assert b"irot" not in (tmp_path / "a.heic").read_bytes()
    result = do(pool, tmp_path / "a.heic")
    assert result.facts is not None
    assert (result.facts.width, result.facts.height, result.facts.orientation) == (1200, 900, 1)
    assert opened(result.images[0]).size == (100, 75)


def test_a_gif_with_the_bytes_of_a_transport_stream_is_a_picture(
    pool: Pool, tmp_path: Path
) -> None:
    Image.linear_gradient("L").save(tmp_path / "a.gif")
    data = bytearray((tmp_path / "a.gif").read_bytes())
    data[188:780:188] = b"GGGG"  # in its palette
    (tmp_path / "a.gif").write_bytes(data)
    result = do(pool, tmp_path / "a.gif")
    assert result.problem == ""
    assert result.facts is not None
    assert (result.facts.width, result.facts.height) == (256, 256)


@pytest.mark.parametrize(
    ("lengths", "told"), [([100, 250, 0, 700], 1150), ([100], 0), ([40] * 100, 4000)]
)
def test_a_gif_that_moves_says_how_long(
    pool: Pool, tmp_path: Path, lengths: list[int], told: int
) -> None:
    """A picture that is shown for no time is shown for a tenth of a second by all programs."""
    first, *others = (Image.new("L", (60, 40), nth) for nth in range(len(lengths)))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others, duration=lengths, loop=0)
    for cut in (None, -1):
        data = (tmp_path / "a.gif").read_bytes()[:cut]
        (tmp_path / "b.gif").write_bytes(data)
        facts = do(pool, tmp_path / "b.gif").facts
        assert facts is not None
        assert (facts.duration_ms, facts.width, facts.problem) == (told, 60, "")


def test_what_a_picture_says_of_itself(pool: Pool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    exif.get_ifd(0x8769).update({0x9003: "2017:04:19 03:06:44", 0x9011: "+02:00"})
    exif.get_ifd(0x8825).update(
        {1: "S", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 36.0), 5: b"\0", 6: 34.5}
    )
    picture().save(tmp_path / "a.jpg", exif=exif)
    facts = do(pool, tmp_path / "a.jpg").facts
    assert facts is not None
    moment = dt.datetime(2017, 4, 19, 3, 6, 44, tzinfo=dt.UTC)
    assert facts.captured_us == int(moment.timestamp()) * 1_000_000
    assert (facts.offset_minutes, facts.make, facts.model) == (120, "Maker", "Model")
    assert (facts.latitude, facts.longitude, facts.altitude) == (-52.5, 13.41, 34.5)


@pytest.mark.parametrize(("text", "minutes"), [("-12:00", -720), ("+14:00", 840), ("+99:99", None)])
def test_no_clock_is_off_by_more_than_zones_are(
    pool: Pool, tmp_path: Path, text: str, minutes: int | None
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2017:04:19 03:06:44", 0x9011: text})
    picture(30, 20).save(tmp_path / "a.jpg", exif=exif)
    facts = do(pool, tmp_path / "a.jpg").facts
    assert facts is not None
    assert facts.offset_minutes == minutes


def test_what_a_video_says_of_itself(pool: Pool, tmp_path: Path) -> None:
    video(tmp_path / "a.mp4", creation_time="2017-04-19T03:06:44Z")
    facts = do(pool, tmp_path / "a.mp4").facts
    assert facts is not None
    assert facts.captured_us == 1492571204 * 1_000_000


PAIR = "6FA1C1E0-4F0B-4D5C-9A63-0C7F3B7D2A11"


def apple_note(pair: str) -> bytes:
    """Return a maker note of an iPhone: a directory with the content identifier, tag 17."""
    text = pair.encode() + b"\0"
    entry = (17).to_bytes(2) + (2).to_bytes(2) + len(text).to_bytes(4) + (32).to_bytes(4)
    return b"Apple iOS\0\0\1MM" + (1).to_bytes(2) + entry + bytes(4) + text


def live_photo(directory: Path, ending: str, name: str = "live") -> tuple[Path, Path]:
    """Make both halves of a live photo as an iPhone does."""
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x927C: apple_note(PAIR)})
    still, film = directory / f"{name}.{ending}", directory / f"{name}.mov"
    picture().save(still, exif=exif)
    options = {"movflags": "use_metadata_tags"}  # written as QuickTime's own keys
    video(film, options, **{"com.apple.quicktime.content.identifier": PAIR})
    return still, film


@pytest.mark.parametrize("ending", ["jpg", "heic"])
def test_both_halves_of_a_live_photo_say_so(pool: Pool, tmp_path: Path, ending: str) -> None:
    for half in live_photo(tmp_path, ending):
        facts = do(pool, half).facts
        assert facts is not None
        assert facts.pair == PAIR


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("aiff", "pcm_s16be"),
        ("flac", "flac"),
        ("ogg", "flac"),
        ("mp3", "libmp3lame"),
        ("m4a", "aac"),
        ("aac", "aac"),
    ],
)
def test_sound_says_how_long_it_is(pool: Pool, tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"a.{ending}"
    sound(path, codec)
    result = do(pool, path, Order((), webp=False, facts=True))
    assert (result.images, result.problem) == ([], "")
    assert result.facts is not None
    assert result.facts.problem == ""
    assert 1900 < result.facts.duration_ms < 2200


def sound(path: Path, codec: str) -> None:
    """Make two seconds of silence."""
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec}")
    kind = {"aac": "adts", "m4a": "mp4"}.get(path.suffix[1:])
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=44_100)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format, "mono", 44_100, stream.frame_size or 4_410)
        frame = av.AudioFrame("s16", "mono", 88_200)
        frame.planes[0].update(bytes(176_400))
        frame.rate, frame.pts = 44_100, 0
        for each in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(each))
        container.mux(stream.encode())


HOSTILE = {
    "empty": b"",
    "bytes": bytes(range(256)) * 10,
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "gif that says nothing": b"GIF89a/*" + bytes(10) + b"*/=alert(1)",
    "cut video": b"\0\0\0\x18ftypmp42" + b"\0" * 100,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_media_has_a_problem(pool: Pool, tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(HOSTILE[name])
    result = do(pool, tmp_path / "a")
    assert result.images == []
    assert result.problem
    assert "\n" not in result.problem
    assert "KeyError" not in result.problem  # every format that is tried is there


def test_a_bomb_costs_nothing(pool: Pool, tmp_path: Path) -> None:
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")
    result = do(pool, tmp_path / "bomb.png")
    assert result.images == []
    assert "Bomb" in result.problem or "pixels" in result.problem


@pytest.fixture
def own() -> Iterator[Pool]:
    """A pool whose worker can be harmed."""
    pool = Pool(1, cpu_seconds=60)
    yield pool
    pool.close()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    picture().save(tmp_path / "good.jpg")
    return tmp_path / "good.jpg"


def pids(pool: Pool) -> list[int]:
    return [worker._process.pid for worker in list(pool._working)]


def holds(pid: int, what: str) -> bool:
    """Say whether a process has something open."""
    with contextlib.suppress(FileNotFoundError):
        return what in {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return False


def reader(pool: Pool, what: str, but: list[int]) -> int:
    """Return a worker that has something open, but none of those, once there is one."""

    def find() -> list[int]:
        return [pid for pid in pids(pool) if pid not in but and holds(pid, what)]

    wait_until(lambda: bool(find()), "a worker reads")
    return find()[0]


def test_a_worker_that_was_killed_while_idle_says_nothing_of_a_file(own: Pool, good: Path) -> None:
    assert do(own, good).problem == ""
    [pid] = pids(own)
    os.kill(pid, signal.SIGKILL)
    assert do(own, good).problem == ""
    assert pids(own) != [pid]


def test_a_file_that_one_worker_died_of_is_tried_once_more(own: Pool, good: Path) -> None:
    assert do(own, good).problem == ""
    [pid] = pids(own)
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as other:
        result = other.submit(do, own, good)
        wait_until(own._idle.empty, "the worker has its order")
        os.kill(pid, signal.SIGKILL)
        assert result.result().problem == ""
    assert pids(own) != [pid]


def test_a_file_that_two_workers_died_of_is_at_fault(own: Pool, good: Path) -> None:
    reading, writing = os.pipe()
    pipe = str(Path(f"/proc/self/fd/{reading}").readlink())
    with ThreadPoolExecutor(1) as other:
        result = other.submit(own.do, reading, BOTH)
        killed: list[int] = []
        while len(killed) < TRIES:
            killed.append(reader(own, pipe, killed))
            os.kill(killed[-1], signal.SIGKILL)
        problem, lasting = result.result().problem, result.result().lasting
    os.close(reading)
    os.close(writing)
    assert (problem, lasting) == ("2 workers died of it", True)
    assert do(own, good).problem == ""


def test_who_says_nothing_for_too_long_is_ended_which_says_nothing_of_the_file(
    own: Pool, good: Path
) -> None:
    assert do(own, good).problem == ""
    os.kill(pids(own)[0], signal.SIGSTOP)
    own._seconds = 0.05
    result = do(own, good)
    assert "nothing came of it" in result.problem
    assert not result.lasting
    own._seconds = DEADLINE_SECONDS
    assert do(own, good).problem == ""


def test_a_file_that_takes_too_much_processor_time_is_at_fault(tmp_path: Path) -> None:
    picture(6_000, 4_000).save(tmp_path / "large.png")
    with contextlib.closing(Pool(1, cpu_seconds=0.01)) as pool:
        result = do(pool, tmp_path / "large.png")
        assert "processor time" in result.problem
        assert result.lasting


def test_a_worker_that_cannot_begin_says_nothing_of_a_file(good: Path) -> None:
    with contextlib.closing(Pool(1, seconds=0.000_1)) as pool:
        with pytest.raises(OSError, match="ended as it began"):
            do(pool, good)
        pool._seconds = DEADLINE_SECONDS
        assert do(pool, good).problem == ""


def test_a_disk_that_cannot_be_read_says_nothing_of_a_file(pool: Pool) -> None:
    result = do(pool, Path("/proc/self/mem"))  # the kernel answers EIO where nothing is
    assert "Input/output error" in result.problem
    assert (result.images, result.facts, result.lasting) == ([], None, False)
