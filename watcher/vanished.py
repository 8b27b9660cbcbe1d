"""Remembers that a name came and went before anyone looked at it.

It may have been another link of any file of its filesystem, and bytes may have been written through
it with the times set back. The kernel told of that under the vanished name only. When the file is
then renamed, or its mode is changed, its change time no longer says that there was more.
"""

from collections.abc import Mapping

from eventlog.clock import Clock
from projections.tree import Tree
from watcher.backend import CONTENT, Place, Sign
from watcher.observation import Observation

VANISHED_SECONDS = 10.0
"""How long files whose change time moved are read again for it."""

_CAME = Sign.CREATED | Sign.MOVED_TO
_WENT = Sign.DELETED | Sign.MOVED_FROM


class Vanished:
    """Shared by the observers of all roots: a link may be in another root than its file.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = float("-inf")

    def note(
        self, signs: Mapping[Place, Sign], seen: Mapping[Place, Observation], tree: Tree
    ) -> None:
        """Take hints, and what a look at their places showed.

        Args:
            signs: what the kernel said of each place.
            seen: what is there; without the places that could not be looked at.
            tree: what was known before the look.
        """
        if any(self._is_one(place, sign, seen.get(place), tree) for place, sign in signs.items()):
            self._last = self._clock.monotonic()

    def recently(self) -> bool:
        """Say whether that happened a short time ago."""
        return self._clock.monotonic() - self._last < VANISHED_SECONDS

    def _is_one(self, place: Place, sign: Sign, seen: Observation | None, tree: Tree) -> bool:
        if sign & _CAME and sign & _WENT:
            return True
        if seen is None or seen.facts is not None or not sign & (_CAME | _WENT | CONTENT):
            return False
        node = tree.child(*place)
        if node is None:
            return True
        # What came and went in a new directory is heard only once it is watched.
        age_ns = self._clock.now_us() * 1000 - node.state.ctime_ns
        return node.state.is_directory and age_ns < VANISHED_SECONDS * 1e9
