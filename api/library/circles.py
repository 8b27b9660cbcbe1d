"""Shows catalogs again that are shown nowhere, because directories were moved on the disk.

A catalog that is to be shown below another one may come to hold that on the disk. Then each is
below the other, and neither below their root. What was said last of where to show one is forgotten.
"""

import msgspec

from api.library.call import FACE, Service
from projections.library_store import Change, Media


def straighten(service: Service) -> int:
    """Show each catalog below its root again.

    Returns:
        How many are shown where they are from now on.

    Raises:
        LogError: nothing can be stored.
    """
    with service.store.reading() as view:
        media = view.media
        astray = [n for n in media.moved_catalogs() if _stands_in_a_circle(media, n)]
    return sum(service.store.change(lambda change: _show(change, n), FACE) for n in astray)  # noqa: B023 - run at once


def _show(change: Change, number: int) -> bool:
    """Show a catalog where it is, if it is still in a circle."""
    note = change.library.note(number)
    if note is None or not _stands_in_a_circle(change.media, number):
        return False
    change.put(msgspec.structs.replace(note[1], parent=0, changed_us=change.now_us), note[0])
    return True


def _stands_in_a_circle(media: Media, number: int) -> bool:
    row = media.row(number)
    return row is not None and number in media.above(row.parent)
