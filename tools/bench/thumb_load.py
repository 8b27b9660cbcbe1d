"""Makes thumbnails of every picture in a directory: by our workers, or by plain Pillow.

It is `python -m tools.bench.thumb_load workers|pillow DIRECTORY BOXES FACTS SECONDS`, which prints
how many pictures it did and what processor time they took, as JSON. BOXES is as 100,800; FACTS is 1
when what the pictures say of themselves is wanted as well.
"""

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps

from tools.bench.process import CLOCK, cpu_seconds
from tools.errors import OperatorError
from tools.thumbnails.pool import Pool
from tools.thumbnails.render import QUALITY
from tools.thumbnails.wire import Order

MEGAPIXELS_12: Final = (4000, 3000)
_ORIENTATION: Final = 0x0112
_TURNED: Final = (1, 6, 3, 8)

Make = Callable[[Path], None]


def make_pictures(directory: Path, size: tuple[int, int] = MEGAPIXELS_12) -> None:
    """Make pictures as phones do: JPEG, with much detail, and turned in EXIF only.

    Args:
        directory: where.
        size: width and height, pixels.
    """
    for nth, turned in enumerate(_TURNED):
        coarse = Image.effect_noise((size[0] // 8, size[1] // 8), 120).resize(size)
        fine = Image.effect_noise(size, 24)
        image = Image.merge("YCbCr", (Image.blend(coarse, fine, 0.3), coarse, fine))
        exif = Image.Exif()
        exif[_ORIENTATION] = turned
        image.convert("RGB").save(directory / f"{nth}.jpg", quality=90, exif=exif)


def by_pillow(boxes: tuple[int, ...]) -> Make:
    """Return what Pillow's own words for it do: as small as possible while decoding, then exact."""

    def make(path: Path) -> None:
        for box in boxes:
            with Image.open(path) as image:
                image.draft("RGB", (box, box))
                image.thumbnail((box, box))
                ImageOps.exif_transpose(image).save(io.BytesIO(), "JPEG", quality=QUALITY)

    return make


def by_workers(pool: Pool, order: Order) -> Make:
    """Return what has one of our workers do it."""

    def make(path: Path) -> None:
        with path.open("rb") as file:
            result = pool.do(file.fileno(), order)
        if result.problem:
            raise OperatorError(f"{path}: no thumbnail was made: {result.problem}")

    return make


def work(make: Make, directory: Path, duration_seconds: float) -> tuple[int, float]:
    """Do one picture after the other.

    Args:
        make: does one.
        directory: of the pictures.
        duration_seconds: for how long.

    Returns:
        How many were done, and the processor time of this process and its children, seconds.
    """
    paths, count = sorted(directory.iterdir()), 0
    make(paths[0])  # what is needed once is not counted
    begun, before = CLOCK.monotonic(), cpu_seconds(os.getpid())
    for path in cycle(paths):
        make(path)
        count += 1
        if CLOCK.monotonic() > begun + duration_seconds and count % len(paths) == 0:
            break
    return count, cpu_seconds(os.getpid()) - before


def main(words: list[str]) -> None:
    """Measure and print."""
    who, directory, sizes, facts, seconds = words
    boxes = tuple(map(int, sizes.split(",")))
    with closing(Pool(1)) as pool:
        order = Order(boxes, webp=False, facts=facts == "1")
        make = by_pillow(boxes) if who == "pillow" else by_workers(pool, order)
        print(json.dumps(work(make, Path(directory), float(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
