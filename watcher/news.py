"""Which looks are recorded as the disk's: those that say anything new, and are no face's."""

from itertools import islice

from projections.tree import TOGETHER, Tree
from watcher.observation import Observation, is_news
from watcher.settle import Settling
from watcher.widen import Batch


def has_news(batch: Batch, tree: Tree) -> bool:
    """Say whether any look can mean an event; asks of a few at a time, as mostly the first."""
    looks = iter(batch.values())
    while some := list(islice(looks, TOGETHER)):
        known = tree.children_at(seen.place for seen in some)
        if any(is_news(seen, known.get(seen.place)) for seen in some):
            return True
    return False


def is_anothers(seen: Observation, settling: Settling, tree: Tree) -> bool:
    """Say whether a face is writing to what was seen, and records it itself."""
    if seen.facts is None or not settling.is_held(seen.place):
        return False
    node = tree.child(*seen.place)
    return node is not None and node.state.ino == seen.facts.ino
