"""What server and workers say to each other. Imports no decoder: the server needs none."""

import msgspec


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
    """

    images: list[bytes]
    facts: MediaFacts | None
    problem: str
