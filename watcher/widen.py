"""Adds to a batch of observations all other places that decide what the batch means."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from projections.tree import Node, Tree
from watcher.backend import CONTENT, NOTHING, Place, Sign
from watcher.directories import Directories
from watcher.look import Looker
from watcher.observation import Observation, unchanged

Batch = dict[Place, Observation]


class _Wanted(NamedTuple):
    """A place to look at.

    Attributes:
        sign: passed on, so that what the kernel said of one hard link counts for all.
        sole: the file was seen elsewhere and has only one name: it cannot be here.
    """

    sign: Sign
    sole: bool


class Widener:
    """Widens batches.

    A file that turned up in a new place may have been moved: then its old place must be looked
    at. A file with several names that changed has changed under all of them.

    Args:
        tree: a reader's tree; all events of this root are committed when it is asked.
        directories: gives descriptors.
        looker: looks.
        elsewhere: told of places below other roots, which their observers must look at.
    """

    def __init__(
        self,
        tree: Tree,
        directories: Directories,
        looker: Looker,
        elsewhere: Callable[[Place], None],
    ) -> None:
        self._elsewhere = elsewhere
        self._tree = tree
        self._directories = directories
        self._looker = looker

    def widen(self, batch: Batch) -> None:
        """Extend a batch until no look leads to another place.

        Raises:
            OSError: the disk is in trouble.
        """
        wave = list(batch.values())
        while wave:
            wanted: dict[Place, _Wanted] = {}
            known = self._tree.children_at(seen.place for seen in wave)
            newcomers = [s for s in wave if self._relate(s, known.get(s.place), wanted)]
            self._want_origins(newcomers, batch, wanted)
            looks = [self._look(*item) for item in wanted.items() if item[0] not in batch]
            wave = [seen for seen in looks if seen is not None]
            batch.update((seen.place, seen) for seen in wave)

    def _look(self, place: Place, want: _Wanted) -> Observation | None:
        try:
            fd = self._directories.fd(place.directory)
            if fd is not None:
                return self._looker.look(fd, place, want.sign)
        except PermissionError:
            return None  # what cannot be looked at stays as it is known
        if self._directories.is_foreign(place.directory):
            self._elsewhere(place)
        # Its directory was moved or removed. What has its only name elsewhere is not in there.
        return Observation(place, None, want.sign) if want.sole else None

    def _relate(self, seen: Observation, node: Node | None, wanted: dict[Place, _Wanted]) -> bool:
        """Want the other links of files that changed; says whether a file is new at its place."""
        facts = seen.facts
        stays = (
            node is not None
            and facts is not None
            and (node.state.fs, node.state.ino) == (facts.fs, facts.ino)
        )
        if node is not None and node.state.nlink > 1 and not stays:
            sign = seen.signs & CONTENT or Sign.ATTRIBUTES
            self._want_links(node.state.fs, node.state.ino, sign, wanted)
        if facts is None or (node is not None and unchanged(node.state, facts)):
            return False
        if stays and facts.nlink > 1:
            sign = seen.signs & CONTENT or Sign.ATTRIBUTES if seen.signs else seen.signs
            self._want_links(facts.fs, facts.ino, sign, wanted)
        return not stays

    def _want_origins(
        self, newcomers: Sequence[Observation], batch: Batch, wanted: dict[Place, _Wanted]
    ) -> None:
        """Want the places where the files of newcomers were known."""
        files = {(seen.facts.fs, seen.facts.ino): seen.facts for seen in newcomers if seen.facts}
        known = self._tree.by_files(file for file in files if file[0])
        for seen in newcomers:
            assert seen.facts is not None
            if origins := known.get((seen.facts.fs, seen.facts.ino)):
                self._add_birth(seen, batch)
                sole = seen.facts.is_directory or seen.facts.nlink == 1
                for node in origins:
                    place = Place(node.state.parent, node.state.name)
                    before = wanted.get(place)
                    sign = Sign.ATTRIBUTES | (before.sign if before else NOTHING)
                    wanted[place] = _Wanted(sign, sole)

    def _add_birth(self, seen: Observation, batch: Batch) -> None:
        fd = self._directories.fd(seen.place.directory)
        if fd is not None:
            birth = self._looker.birth_ns(fd, seen.place.name)
            batch[seen.place] = seen._replace(birth_ns=birth)

    def _want_links(self, fs: int, ino: int, sign: Sign, wanted: dict[Place, _Wanted]) -> None:
        for node in self._links(fs, ino):
            place = Place(node.state.parent, node.state.name)
            wanted.setdefault(place, _Wanted(sign, sole=False))

    def _links(self, fs: int, ino: int) -> list[Node]:
        return self._tree.by_file(fs, ino) if fs else []
