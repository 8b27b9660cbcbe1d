"""Makes the changes that faces ask for, and records them; on the observer's thread."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final

from eventlog.events import DISK
from projections.tree import Node
from watcher.backend import Place, Sign
from watcher.deeds import Deed, How, Touched
from watcher.observation import Observation
from watcher.scan import Tools
from watcher.widen import Batch
from watcher.writings import Unrecorded, Writings

_SIGN_OF: Final[Mapping[How, Sign]] = {
    "writing": Sign.CREATED | Sign.WRITING,
    "written": Sign.CREATED | Sign.WRITTEN,
    "changed": Sign.ATTRIBUTES,
    "removed": Sign.DELETED,
    "moved away": Sign.MOVED_FROM,
    "moved here": Sign.MOVED_TO,
}

Record = Callable[[Batch, str], None]
"""Stores a batch of looks by an author, and does all that follows from it."""

_GONE: Final = ("removed", "moved away")
"""After these nobody can write to a path."""


class Performer:
    """Makes changes below one root.

    Args:
        tools: of this root and thread.
        root: node number of the root.
        record: stores what was seen.
        suspect: has a place looked at again later.
        head: returns the last durable position.
        writings: files that are being written.
    """

    def __init__(
        self,
        tools: Tools,
        root: int,
        record: Record,
        suspect: Callable[[Place], None],
        head: Callable[[], int],
        writings: Writings,
    ) -> None:
        self._tools = tools
        self._root = root
        self._record = record
        self._suspect = suspect
        self._head = head
        self._writings = writings
        self._children: dict[Place, Node | None] = {}

    def perform(self, deeds: Iterable[Deed]) -> None:
        """Make changes in order; those of one author to different paths are recorded together.

        Raises:
            OSError: the disk is in trouble; whoever waits is told.
            LogError: nothing can be recorded; whoever waits is told.
        """
        waiting = deque(deeds)
        group = _Group("")
        try:
            while waiting:
                if not group.takes(waiting[0]):
                    self._finish(group)
                    group = _Group(waiting[0].author)
                group.perform(waiting.popleft())
            self._finish(group)
        except BaseException as error:
            for deed in [*group.deeds, *waiting]:
                deed.done.set_exception(error)
            raise

    def record_writes(self, writes: Iterable[Unrecorded]) -> None:
        """Record what was written, under the names of those who did it.

        Raises:
            OSError: the disk is in trouble.
            LogError: nothing can be recorded.
        """
        self.perform(
            Deed(partial(_written, write), (write.path,), write.author, Future())
            for write in writes
        )

    def _finish(self, group: "_Group") -> None:
        """Record what the changes of a group touched, and tell whoever waits."""
        self._children.clear()
        batch: Batch = {}
        made = {path for path, _ in group.touched}
        for path, how in group.touched:
            sign = _SIGN_OF[how]
            if self._writings.take(path):
                sign |= Sign.WRITING  # what was written before is recorded with this
            place = self._look(path, sign, made, group.author, batch)
            self._note(path, how, place, group.author)
        self._tools.widener.widen(batch)
        self._record(batch, group.author)
        position = self._head()
        while group.deeds:
            group.deeds.pop().done.set_result(position)

    def _note(self, path: bytes, how: How, place: Place | None, author: str) -> None:
        """Keep account of who is writing."""
        if how == "writing" and place is not None:
            self._writings.begin(path, author, place)
        elif how == "written":
            self._writings.end(path)
        elif how in _GONE:
            self._writings.forget(path)

    def _look(
        self, path: bytes, sign: Sign, made: Collection[bytes], author: str, batch: Batch
    ) -> Place | None:
        above, _, name = path.rpartition(b"/")
        names = above.split(b"/") if above else []
        seen = self._see(self._directory(names, made, author), name, sign)
        if (seen is None or seen.facts is None) and not sign & (Sign.DELETED | Sign.MOVED_FROM):
            # Perhaps another directory has its path now, and the kernel's hint is on the way.
            self._forget(names)
            seen = self._see(self._record_way(names, made, author), name, sign)
        if seen is None:
            return None
        batch[seen.place] = seen
        return seen.place

    def _see(self, directory: int | None, name: bytes, sign: Sign) -> Observation | None:
        """Look into a directory; one that is gone was touched itself, or is hinted at."""
        if directory is None:
            return None
        place = Place(directory, name)
        try:
            fd = self._tools.directories.fd(directory)
            if fd is not None:
                return self._tools.looker.look(fd, place, sign)
        except PermissionError:
            pass  # what cannot be looked at stays as it is known
        self._suspect(place)
        return None

    def _forget(self, names: Sequence[bytes]) -> None:
        """Close what is open of the directories on a way, so that they are found anew."""
        number = self._root
        for name in names:
            node = self._tools.tree.child(number, name)
            if node is None:
                return
            number = node.number
            self._tools.directories.forget(number)

    def _directory(
        self, names: Sequence[bytes], made: Collection[bytes], author: str
    ) -> int | None:
        """Return the number of the directory that is at a path now, or None when there is none."""
        number = self._known(names)
        if number is not None and self._tools.directories.fd(number) is not None:
            return number
        return self._record_way(names, made, author)

    def _known(self, names: Sequence[bytes]) -> int | None:
        number = self._root
        for name in names:
            node = self._child(Place(number, name))
            if node is None or not node.state.is_directory:
                return None
            number = node.number
        return number

    def _child(self, place: Place) -> Node | None:
        """Return what is recorded at a place, asked once a group, or after each new record.

        Most of what a group touches is in the same few directories.
        """
        if place not in self._children:
            self._children[place] = self._tools.tree.child(*place)
        return self._children[place]

    def _record_way(
        self, names: Sequence[bytes], made: Collection[bytes], author: str
    ) -> int | None:
        """Record directories from the top down, each under the number of the one above it."""
        number = self._root
        for depth, name in enumerate(names, 1):
            place = Place(number, name)
            fd = self._tools.directories.fd(number)
            if fd is None:
                return None
            batch = {place: self._tools.looker.look(fd, place, Sign.ATTRIBUTES)}
            self._tools.widener.widen(batch)
            self._record(batch, author if b"/".join(names[:depth]) in made else DISK)
            self._children.clear()
            node = self._tools.tree.child(*place)
            if node is None or not node.state.is_directory:
                return None
            number = node.number
        return number


class _Group:
    """Changes that are recorded together: of one author, and none within another's reach."""

    def __init__(self, author: str) -> None:
        self.author = author
        self.deeds: list[Deed] = []
        self.touched: list[Touched] = []
        self._about: list[bytes] = []

    def takes(self, deed: Deed) -> bool:
        """Say whether a change can be made before those that were made are recorded."""
        if not self.deeds and not self.touched:
            return deed.author == self.author
        return deed.author == self.author and not any(
            _overlap(one, other) for one in self._about for other in deed.about
        )

    def perform(self, deed: Deed) -> None:
        """Make a change; a failure is for whoever asked for it."""
        self._about += deed.about
        try:
            self.touched += deed.act()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            # It may have got half way: what it was about is looked at all the same.
            self.touched += [(path, "changed") for path in deed.about]
            deed.done.set_exception(error)
        else:
            self.deeds.append(deed)


def _written(write: Unrecorded) -> list[Touched]:
    return [(write.path, "writing" if write.goes_on else "written")]


def _overlap(one: bytes, other: bytes) -> bool:
    """Say whether two paths are the same, or one lies below the other."""
    return one == other or one.startswith(other + b"/") or other.startswith(one + b"/")
