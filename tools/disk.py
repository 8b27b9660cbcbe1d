"""Compares the stored tree with the disk, reading only: what `nasfeed check` proves last.

It looks by itself, and does not ask the scan of the watcher, whose work it judges.
"""

import os
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import apsw

from eventlog.events import SUPER_ROOT, State
from projections.tree import Node, Tree
from watcher.backend import Place
from watcher.directories import Directories
from watcher.excludes import Excludes
from watcher.filesystems import Filesystems
from watcher.hidden import PrivateFiles, private_files
from watcher.look import Looker
from watcher.mounts import MountTable
from watcher.observation import Facts, unchanged
from watcher.root import Root, RootAbsentError, is_empty, judge, open_root

PAGE = 1_000
"""Nodes of a directory held at once."""

_COMPARED = ("mode", "size", "mtime_ns", "ctime_ns", "uid", "gid", "nlink", "ino", "fs", "target")


class Disagreement(NamedTuple):
    """A place where tree and disk differ.

    Attributes:
        place: which.
        problem: how, in a few words.
        facts: what is on the disk there, or None.
    """

    place: Place
    problem: str
    facts: Facts | None


class Counts:
    """How much was compared.

    Attributes:
        entries: nodes of the tree that were looked for on the disk.
        skipped: roots and directories below which nothing could be compared, each with the reason.
    """

    def __init__(self) -> None:
        self.entries = 0
        self.skipped: list[str] = []


class DiskCheck:
    """Compares root by root.

    Args:
        connection: a reader's; each question is a read transaction of its own.
        exclude: name patterns beside the built-in ones.
        files: the server's own files.
    """

    def __init__(
        self, connection: apsw.Connection, exclude: tuple[str, ...], files: list[str]
    ) -> None:
        self.counts = Counts()
        self._tree = Tree(connection)
        self._mounts = MountTable()
        self._looker = Looker(Filesystems(self._mounts), Excludes(exclude), _private(files))
        self._directories = Directories(self._tree, self._looker.file)
        self._root = 0

    def close(self) -> None:
        """Close all descriptors."""
        self._directories.close()
        self._mounts.close()

    def compare(self) -> Generator[Disagreement, None, None]:
        """Walk all roots. Nothing else may be asked before the walk is at its end, or closed.

        Yields:
            Where tree and disk differ; perhaps only because one was looked at before a change and
            the other after it.
        """
        self.counts = Counts()
        for root in self._tree.children(SUPER_ROOT):
            if self._enter(root):
                yield from self._walk(root)

    def look_again(self, before: Disagreement) -> Disagreement | None:
        """Compare one place once more, some time later.

        Returns:
            The disagreement if there still is one although the disk has not changed meanwhile:
            whoever follows the disk had the time to notice. None otherwise.
        """
        place = before.place
        fd = self._reach(place.directory)
        node = self._tree.child(*place)
        if fd is None:
            return before if node is not None else None
        facts = self._looker.look(fd, place).facts
        if facts != before.facts:
            return None
        problem = _problem(node, facts)
        return None if problem is None else Disagreement(place, problem, facts)

    def path(self, place: Place) -> bytes:
        """Return the path of a place as the tree has it."""
        above = self._tree.path(place.directory)
        return b"/".join([above or b"?", place.name])

    def _enter(self, root: Node) -> bool:
        """Open a root; one that is absent is no disagreement, because nothing was removed."""
        where = Root(os.fsdecode(root.state.name), root.state.target)
        try:
            fd = open_root(where)
        except RootAbsentError as error:
            self._skip(f"root {where.name}", str(error))
            return False
        try:
            full = self._tree.has_children(root.number)
            reason = judge(root, self._looker.facts(fd), was_full=full, empty=is_empty(fd))
        finally:
            os.close(fd)
        if reason is not None:
            self._skip(f"root {where.name}", reason)
            return False
        self._directories.set_root(root.number, partial(open_root, where))
        self._root = root.number
        return True

    def _reach(self, number: int) -> int | None:
        """Open a directory of whatever root it belongs to."""
        chain = self._tree.chain(number)
        root = self._tree.node(chain[0][0]) if chain else None
        if root is None or (root.number != self._root and not self._enter(root)):
            return None
        return self._directories.fd(number)

    def _walk(self, root: Node) -> Iterator[Disagreement]:
        stack = [root]
        while stack:
            node = stack.pop()
            try:
                fd = self._open(node)
                if fd is not None:
                    yield from self._known(node, fd, stack)
                    yield from self._unknown(node, fd)
            except PermissionError as error:
                path = os.fsdecode(self._tree.path(node.number) or node.state.name)
                self._skip(path, f"cannot be read: {error.strerror}")

    def _open(self, node: Node) -> int | None:
        if node.number == self._root:
            return self._directories.fd(node.number)
        state = node.state
        file = (state.fs, state.ino)
        return self._directories.fd_below(state.parent, state.name, node.number, file)

    def _known(self, above: Node, fd: int, stack: list[Node]) -> Iterator[Disagreement]:
        """Look on the disk for what the tree has in a directory."""
        after = b""
        while page := self._tree.children_after(above.number, after, PAGE):
            after = page[-1].state.name
            for node in page:
                self.counts.entries += 1
                place = Place(above.number, node.state.name)
                facts = self._looker.look(fd, place).facts
                if facts is not None and _is_unmounted(above.state, node.state, facts):
                    path = os.fsdecode(self.path(place))
                    self._skip(path, "what was mounted there is absent")
                    continue
                problem = _problem(node, facts)
                if problem is not None:
                    yield Disagreement(place, problem, facts)
                elif node.state.is_directory:
                    stack.append(node)

    def _unknown(self, above: Node, fd: int) -> Iterator[Disagreement]:
        """Look in the tree for what a directory has on the disk."""
        with os.scandir(fd) as entries:
            for entry in entries:
                place = Place(above.number, os.fsencode(entry.name))
                if self._looker.hidden(fd, place.name) or self._tree.child(*place) is not None:
                    continue
                facts = self._looker.look(fd, place).facts
                problem = _problem(None, facts)
                if problem is not None:
                    yield Disagreement(place, problem, facts)

    def _skip(self, what: str, why: str) -> None:
        self.counts.skipped.append(f"{what}: {why}")


def _problem(node: Node | None, facts: Facts | None) -> str | None:
    """Say how tree and disk differ at a place, or return None."""
    if node is None:
        return None if facts is None else "on the disk, but not in the tree"
    if facts is None:
        return "in the tree, but not on the disk"
    if unchanged(node.state, facts):
        return None
    named = (
        f"{name} is {getattr(facts, name)!r} on the disk, {getattr(node.state, name)!r} in the tree"
        for name in _COMPARED
        if getattr(facts, name) != getattr(node.state, name)
    )
    return "; ".join(named)


def _is_unmounted(above: State, state: State, facts: Facts) -> bool:
    """Say whether a directory stood for a mounted filesystem, and what lay below it shows now."""
    other = state.fs not in {0, facts.fs} and above.fs == facts.fs
    return other and state.is_directory and facts.is_directory


def _private(files: list[str]) -> PrivateFiles:
    return private_files(os.fsencode(file) for file in files if Path(file).parent.is_dir())
