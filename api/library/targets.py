"""Catalogs and files as things on the disk that are to be changed.

The log knows by which path a node was found last. By now something else may be there, if somebody
moved things about a moment ago. So whoever changes a node checks, on the observer's thread, that it
is still the one; if not, its place is looked at again, and there is one more try.
"""

import contextlib
import errno
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from api.library.call import Place, Reading, Service, Who
from api.library.wire import NOT_FOUND, LibraryError
from eventlog.events import DISK

T = TypeVar("T")

_ELSEWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class StaleError(Exception):
    """At the path of a node there is something else, or nothing."""


class Target(NamedTuple):
    """A node that is to be changed.

    Attributes:
        place: its root.
        path: of it in the root, raw; empty for the root itself.
        inode: number that it had when it was last looked at.
    """

    place: Place
    path: bytes
    inode: int

    def check(self) -> None:
        """See to it that the node is still at its path.

        Raises:
            StaleError: it is not.
            OSError: the disk is in trouble.
        """
        if not self.path:
            return
        with moved_is_stale():
            if self.place.beneath.stat(self.path).st_ino != self.inode:
                raise StaleError

    def look_again(self) -> None:
        """Have the log know what is at the path now."""
        if self.path:
            self.place.root.perform(lambda: [(self.path, "changed")], (self.path,), DISK)


def target_of(service: Service, who: Who, number: int) -> Target:
    """Return where a node is.

    Raises:
        LibraryError: it is gone.
    """
    with service.store.reading() as view:
        reading = Reading(view, who.user, service)
        place, path = reading.path(number)
        return Target(place, path, reading.node(number).state.ino)


def at(service: Service, who: Who, number: int, work: Callable[[Target], T]) -> T:
    """Do something where a node is, and once more after a second look if it was not there.

    Args:
        service: what the library is.
        who: does it.
        number: of the node.
        work: does it; it may raise StaleError before it has changed anything.

    Raises:
        LibraryError: the node is not where the log says, or is gone.
    """
    target = target_of(service, who, number)
    with contextlib.suppress(StaleError):
        return work(target)
    target.look_again()
    try:
        return work(target_of(service, who, number))
    except StaleError as error:
        raise LibraryError(NOT_FOUND) from error


@contextlib.contextmanager
def moved_is_stale() -> Iterator[None]:
    """Have errors that say that something is not there raised as StaleError."""
    try:
        yield
    except OSError as error:
        if error.errno in _ELSEWHERE:
            raise StaleError from error
        raise
