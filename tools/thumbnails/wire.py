"""What server and workers say to each other. Imports no decoder: the server needs none."""

from typing import Final

import msgspec

READY: Final = b"R"
"""What a worker says once it can take orders; who dies before has died of no file."""


class MediaFacts(msgspec.Struct):
    """As `eventlog.library.Facts`, without what is known outside the worker."""

    orientation: int = 0
    captured_us: int | None = None
    offset_minutes: int | None = None
    longitude: float | None = None
    latitude: float | None = None
    altitude: float | None = None
    make: str = ""
    model: str = ""
    pair: str = ""
    problem: str = ""
    duration_ms: int = 0
    width: int = 0
    height: int = 0


class Order(msgspec.Struct, frozen=True):
    """What is wanted of a file.

    Attributes:
        boxes: sizes of the thumbnails, pixels; none for sound, which has none.
        webp: whether as WebP; else as JPEG.
        facts: whether what it says of itself is wanted.
    """

    boxes: tuple[int, ...]
    webp: bool
    facts: bool


class Result(msgspec.Struct, frozen=True):
    """What came of it.

    Attributes:
        images: a thumbnail for each size; none when there is a problem.
        facts: what the file says, if wanted.
        problem: one line; "" when all went well.
        lasting: whether the same would come of it again, as long as the file does not change.
    """

    images: list[bytes]
    facts: MediaFacts | None
    problem: str
    lasting: bool = True
