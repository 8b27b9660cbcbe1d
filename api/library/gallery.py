"""Looks at new pictures, videos and sound, so that thumbnails are there before they are wanted.

Whatever is wrong with a file, it is passed over and the next one is looked at. It is tried again
later, because it may have been the disk that was wrong.
"""

import logging
import os
from collections.abc import Callable, Collection
from typing import Final

import msgspec

from api.library import download
from api.library.call import FACE, Service
from api.library.thumb_cache import ThumbCache
from api.library.thumbs import BOXES, VISIBLE, Look, Looked, Seen, digest_of, failure_of
from api.library.wire import LibraryError
from eventlog.clock import Clock
from eventlog.errors import LogError
from eventlog.library import Facts
from projections.library_store import Change

PAGE: Final = 100
"""Files that are asked for at once."""

WAIT_MIN: Final = 1.0
WAIT_MAX: Final = 900.0
"""Seconds until a file that could not be looked at is tried again; each time twice as many."""

_END: Final = 2**63 - 1
"""Above any number of a node."""

_log = logging.getLogger(__name__)


class PassedOver:
    """Files that could not be looked at, and when they are tried again.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waits: dict[int, tuple[float, float]] = {}

    def add(self, number: int) -> None:
        """Pass a file over for a while."""
        _, before = self._waits.get(number, (0.0, WAIT_MIN / 2))
        wait = min(before * 2, WAIT_MAX)
        self._waits[number] = (self._clock.monotonic() + wait, wait)

    def now(self) -> set[int]:
        """Return those whose time has not come yet."""
        now = self._clock.monotonic()
        return {number for number, (until, _) in self._waits.items() if until > now}

    def keep(self, numbers: Collection[int]) -> None:
        """Forget all but these."""
        for number in self._waits.keys() - set(numbers):
            del self._waits[number]


class Gallery:
    """Looks at files that nobody has looked at since they changed. One thread uses it.

    Args:
        service: what the library is.
        cache: of thumbnails.
        look: looks at one.
    """

    def __init__(self, service: Service, cache: ThumbCache, look: Look) -> None:
        self._service = service
        self._cache = cache
        self._look = look
        self._passed = PassedOver(service.clock)

    def describe_new(self, stopping: Callable[[], bool]) -> int:
        """Look at some, the newest first.

        Args:
            stopping: asked before each; True ends this early.

        Returns:
            How many were looked at.

        Raises:
            LogError: nothing can be stored.
            OSError: nothing can be cached, or nothing can look at files.
        """
        count = 0
        for number in self._waiting():
            if stopping():
                break
            count += self._try(number)
        return count

    def _waiting(self) -> list[int]:
        """Return the newest of those that are not passed over now."""
        passed, found, seen, below = self._passed.now(), list[int](), list[int](), _END
        with self._service.store.reading() as view:
            while len(found) < PAGE:
                page = view.media.to_do(below, PAGE)
                seen += page
                found += [number for number in page if number not in passed]
                if len(page) < PAGE:
                    self._passed.keep(seen)  # those were all
                    break
                below = page[-1]
        return found

    def _try(self, number: int) -> bool:
        """Look at a file, or pass it over; return whether it was looked at."""
        try:
            done = self._describe(number)
        except (LogError, OSError):
            self._passed.add(number)  # should it be this file's fault, the next one has its turn
            raise
        except Exception:  # noqa: BLE001 - logged; whatever a file is, the others are looked at
            _log.exception("file %d could not be looked at; it is tried again later", number)
            done = False
        if not done:
            self._passed.add(number)
        return done

    def _describe(self, number: int) -> bool:
        with self._service.store.reading() as view:
            node = view.tree.node(number)
            chain = view.tree.chain(number)
            row = view.media.row(number)
        if node is None or not chain or not node.state.hash:
            return False
        place = self._service.places.get(chain[0][1].decode("utf-8", "replace"))
        if place is None:
            return False
        try:
            fd = download.open_path(place, b"/".join(name for _, name in chain[1:]))
        except LibraryError:
            return False
        try:
            boxes = BOXES if row and row.type in VISIBLE else ()
            looked = self._look(fd, boxes, webp=False, facts=True)
            if Seen.of(fd) != Seen(node.state.size, node.state.mtime_ns):
                return False  # it is looked at when the log knows that it has changed
        finally:
            os.close(fd)
        if not looked.lasting:
            return False
        self._keep(looked, boxes, digest_of(node.state.hash, node.state.size))
        facts = looked.facts or Facts(0, b"", problem=looked.problem)
        self._service.store.change(
            lambda change: _store(change, facts, number, node.state.hash), FACE
        )
        return True

    def _keep(self, looked: Looked, boxes: tuple[int, ...], digest: str) -> None:
        for level, image in enumerate(looked.images):
            self._cache.put(f"{digest}.{level}.jpg", image)
        if boxes and not looked.images:
            self._cache.put(failure_of(digest), b"")


def _store(change: Change, facts: Facts, number: int, content: bytes) -> None:
    """Store what a file says, if it is still the one that was looked at."""
    node = change.tree.node(number)
    if node is None or node.state.hash != content:
        return
    known = change.library.facts(number)
    found = msgspec.structs.replace(facts, node=number, hash=content)
    change.put(found, known[0] if known else 0)
