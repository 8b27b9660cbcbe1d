"""Ends what is known of files that are gone for good; of what is in the trash it is kept."""

from typing import Final

from api.library.call import FACE, Service
from eventlog.library import Kind
from projections.library_store import Change

ONCE_MAX: Final = 500
"""Nodes in one transaction."""


def bury(service: Service) -> int:
    """End notes and facts of nodes that are gone, and their uploads.

    Returns:
        How many nodes it was.

    Raises:
        LogError: nothing can be stored.
    """
    after, count = 0, 0
    while True:
        with service.store.reading() as view:
            found = view.media.gone(after, ONCE_MAX)
            kept = {state.node for _, state in (*view.library.trash(), *view.library.restored())}
            for _, state in (*view.library.trash(), *view.library.restored()):
                kept.update(node for _, node in state.notes)
        if not found:
            return count
        after = found[-1][0]
        over = [gone for gone in found if gone[0] not in kept]
        if over:
            service.store.change(lambda change: _end(change, over), FACE)  # noqa: B023 - run at once
        count += len(over)


def _end(change: Change, over: list[tuple[int, int, int]]) -> None:
    for number, note, facts in over:
        uploads = [(Kind.UPLOAD, upload) for upload, _ in change.library.uploaded(number)]
        for kind, entity in ((Kind.NOTE, note), (Kind.FACTS, facts), *uploads):
            if entity and change.is_live(kind, entity):
                change.end(kind, entity, "its file is gone")
