"""Joins the workers to what the library asks for (`api.library.thumbs.Look`)."""

import msgspec

from api.library.thumbs import Look, Looked
from eventlog.library import Facts
from tools.thumbnails.pool import Pool
from tools.thumbnails.wire import Order


def looking(pool: Pool) -> Look:
    """Return what looks at files by a pool of workers."""

    def look(fd: int, boxes: tuple[int, ...], *, webp: bool, facts: bool) -> Looked:
        result = pool.do(fd, Order(boxes, webp, facts))
        found = None
        if result.facts is not None:
            found = Facts(0, b"", **msgspec.structs.asdict(result.facts))
        return Looked(result.images, found, result.problem, result.lasting)

    return look
