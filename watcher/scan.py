"""Compares a directory and all below it with the tree, in steps, streaming.

Watch first, then list: what happens after the watch is hinted at, what happened before is listed.
What is missing is only noted; it is looked at again when the whole scan is done, because a file
that is missing here may have been moved to where the scan has not been yet.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from stat import S_ISDIR
from typing import NamedTuple

from eventlog.events import DISK
from projections.tree import Node, Tree
from watcher.backend import NOTHING, Backend, Place, WatchLimitError
from watcher.directories import Directories
from watcher.help import Help
from watcher.look import Looker
from watcher.newcomers import Newcomer, Newcomers
from watcher.observation import Facts, Observation, unchanged_since
from watcher.reconcile import Gone
from watcher.recorder import Recorded, Recorder
from watcher.vanished import Vanished
from watcher.walk import Todo
from watcher.walkers import Walkers
from watcher.widen import Batch, Widener

BATCH = 5_000
"""Observations recorded in one transaction."""

CHUNK = 20_000
"""Entries of one directory held at once; a larger directory is compared in pieces."""

PIECE = 1_000
"""Entries of such a directory that are looked up together."""

ALONE_MAX = 500
"""Entries that are compared before other processes are asked to help; for less it is no help."""

_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
"""What `os.fsencode` uses, at a third of its cost."""

_Entry = tuple[bytes, os.stat_result]


class Counts:
    """What a scan has seen so far."""

    def __init__(self) -> None:
        self.entries = 0
        self.directories = 0
        self.events = 0
        self.unreadable = 0


class Tools(NamedTuple):
    """What a scan works with; all of one root and one thread."""

    backend: Backend
    tree: Tree
    directories: Directories
    looker: Looker
    widener: Widener
    recorder: Recorder
    warn: Callable[[str], None]
    unwatched: Callable[[WatchLimitError], None]
    vanished: Vanished
    aftermath: Callable[[Recorded], None]
    elsewhere: Callable[[Place], None]
    removal_percent: float
    hire: Callable[[int], Walkers | None]


class Scan:
    """One comparison in progress.

    Args:
        tools: what it works with.
        start: number of the directory to begin with.
        is_held: whether a face is writing to the file at a place, and records it itself.
        fresh: nothing was ever recorded below it.
        helped: let other processes help.
        accept: believe also that other filesystems are mounted below it than before.
    """

    def __init__(
        self,
        tools: Tools,
        start: int,
        is_held: Callable[[Place], bool],
        *,
        fresh: bool = False,
        accept: bool = False,
        helped: bool = False,
    ) -> None:
        self.counts = Counts()
        self.unmounted: frozenset[int] = frozenset()
        self._start = start
        self._tools = tools
        self._is_held = is_held
        self._newcomers = Newcomers(tools.recorder, DISK) if fresh else None
        self.accept = accept
        self.lost: list[int] = []
        self._first = True
        self._hires = helped
        self._help: Help | None = None
        self._stack: list[Todo] = []
        self._batch: Batch = {}
        self._paths: dict[Place, bytes] = {}
        self._gone: dict[int, Gone] = {}

    # lost: directories that were to be listed and were not where the tree says.
    # paths: of the directories in the batch, below the start.

    @property
    def walked(self) -> bool:
        """Whether every directory was listed and everything present is recorded."""
        left = self._stack or self._batch or self._newcomers
        return not (self._first or left or self._helped)

    @property
    def gone(self) -> list[Gone]:
        """Nodes that were missing when their directory was listed."""
        return list(self._gone.values())

    def step(self) -> None:
        """List some directories and record what is new: a few milliseconds to a tenth of a second.

        Raises:
            OSError: the disk is in trouble; the scan must be given up.
            LogError: nothing could be recorded; the scan must be given up.
        """
        if self._first:
            self._first = False
            self._open_and_list(Todo(self._start, b"", (0, 0)))
        if self._hires and self._stack and self.counts.entries >= ALONE_MAX:
            self._hires = False
            self._hire()
        if self._help is not None and not self._help.work(self._stack):
            self.close()
        todos = self._stack if self._help is None else self._help.own
        self._list_some(todos, ALONE_MAX if self._hires else BATCH)
        if self._newcomers is not None:
            starving = not self._stack and not self._helped
            self._welcome(self._newcomers, self._newcomers.stored(starving=starving))
        if len(self._batch) >= BATCH or not self._stack:
            self.flush()
        if self.walked:
            self.close()

    def close(self) -> None:
        """Let go who helped; the scan needs no other end. A second call does nothing."""
        if self._help is not None:
            self._help.close()
            self._stack += self._help.own
            self._help = None

    @property
    def _helped(self) -> bool:
        """Whether anything is still to come from who helps."""
        return self._help is not None and self._help.busy

    def _hire(self) -> None:
        """Have other processes help, if there are any and the backend can do with that."""
        top = self._tools.directories.fd(self._start)
        walkers = None if top is None else self._tools.hire(top)
        if walkers is not None:
            fresh = self._newcomers is not None
            self._help = Help(walkers, self._tools.recorder, self.counts, fresh=fresh)

    def _list_some(self, todos: list[Todo], budget: int) -> None:
        """List directories for a while: until there were so many entries."""
        while todos and len(self._batch) < BATCH and budget > 0:
            before = self.counts.entries
            self._open_and_list(todos.pop())
            budget -= self.counts.entries - before + 10

    def give_way(self) -> None:
        """Record what was seen so far, because hints are about to be recorded.

        From then on it is no longer certain that nothing is known below the start.
        """
        if self._newcomers is not None:
            self._welcome(self._newcomers, self._newcomers.flush())
            self._newcomers = None
        if self._help is not None:
            self._help.give_way(self._stack)
        self.flush()

    def _welcome(self, newcomers: Newcomers, directories: Iterable[Newcomer]) -> None:
        """Put directories on the stack whose numbers are known by now."""
        before = newcomers.recorded
        self._stack += itertools.starmap(Todo, directories)
        self.counts.events += newcomers.recorded - before

    def flush(self) -> None:
        """Record what was seen so far."""
        if not self._batch:
            return
        self._tools.widener.widen(self._batch)
        batch, self._batch = list(self._batch.values()), {}
        paths, self._paths = self._paths, {}
        recorded = self._tools.recorder.record(batch, DISK, accept=self.accept)
        self.counts.events += recorded.events
        self.unmounted |= recorded.unmounted
        self._tools.aftermath(recorded)
        for gone in recorded.gone:
            self._gone[gone.node.number] = gone
        for number, _ in recorded.directories:  # what is open may be the one that was there before
            self._tools.directories.forget(number)
        for seen in batch:
            if seen.facts is not None and seen.facts.is_directory:
                self._enter(seen.place, seen.facts, recorded, paths.get(seen.place))

    def _enter(self, place: Place, facts: Facts, recorded: Recorded, path: bytes | None) -> None:
        """Put a directory that was just recorded on the stack."""
        number = recorded.numbers.get(place)
        if number is None:  # someone else had recorded the same already
            node = self._tools.tree.child(*place)
            number = None if node is None else node.number
        if number is not None and number not in recorded.unmounted:
            self._stack.append(Todo(number, path or b"", (facts.fs, facts.ino)))

    def _open_and_list(self, todo: Todo) -> None:
        """List a directory; one that is not found was moved or removed, or one above it was."""
        number = todo.number
        try:
            fd = self._open(todo)
            if fd is None:
                self.lost.append(number)
                return
            try:
                self._list(todo, fd)
            finally:
                os.close(fd)
        except PermissionError as error:
            # What cannot be read is not gone: what is known of it stays.
            self.counts.unreadable += 1
            self._tools.warn(f"{self._path(number)}: cannot be listed: {error.strerror}")

    def _open(self, todo: Todo) -> int | None:
        """Open a directory where it was seen, else where the tree has it by now."""
        directories = self._tools.directories
        if todo.path:
            top = directories.fd(self._start)
            fd = None if top is None else directories.enter(top, todo.path, todo.file)
            if fd is not None:
                return fd
        kept = directories.fd(todo.number)
        return None if kept is None else os.dup(kept)

    def _list(self, todo: Todo, fd: int) -> None:
        """Watch a directory, then observe its entries."""
        self.counts.directories += 1
        self._watch(todo.number, fd)
        if self._newcomers is not None:
            self._take_whole(todo, fd, self._newcomers)
            return
        entries = list(itertools.islice(self._entries(fd), CHUNK))
        if len(entries) < CHUNK:
            self.counts.entries += len(entries)
            self._compare_whole(todo, fd, entries)
        else:
            self._compare_large(todo, fd)

    def _watch(self, number: int, fd: int) -> None:
        try:
            self._tools.backend.watch(number, fd)
        except WatchLimitError as error:
            self._tools.unwatched(error)

    def _entries(self, fd: int) -> Iterator[_Entry]:
        hides = self._tools.looker.hidden.hides
        # btrfs lists no more than there was when a directory was opened, or rewound: without this,
        # nothing that came before it was watched (btrfs_dir_llseek of Linux, since 6.5).
        os.lseek(fd, 0, os.SEEK_SET)
        with os.scandir(fd) as found:
            for entry in found:
                text = entry.name
                if hides(fd, text):
                    continue
                try:
                    yield text.encode(_ENCODING, _ERRORS), entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # it went away while we looked: hinted at

    def _take_whole(self, todo: Todo, fd: int, newcomers: Newcomers) -> None:
        """Take all entries of a directory of which nothing is known."""
        state_at, add, number = self._tools.looker.state_at, newcomers.add, todo.number
        for name, found in self._entries(fd):
            self.counts.entries += 1
            try:
                state = state_at(found, fd, number, name)
            except FileNotFoundError:
                continue  # it went away while we looked: hinted at
            add(state, _below(todo.path, name) if S_ISDIR(found.st_mode) else None)

    def _compare_whole(self, todo: Todo, fd: int, entries: list[_Entry]) -> None:
        known = self._tools.tree.children_by_name(todo.number)
        for name, found in entries:
            self._compare(todo, fd, name, found, known.pop(name, None))
        for node in known.values():
            self._missing(node)

    def _compare_large(self, todo: Todo, fd: int) -> None:
        """Compare a directory that is too large to be held: look up by name, both ways."""
        tree, looker, number = self._tools.tree, self._tools.looker, todo.number
        entries = self._entries(fd)
        while part := list(itertools.islice(entries, PIECE)):
            self.counts.entries += len(part)
            known = tree.children_at((number, name) for name, _ in part)
            for name, found in part:
                self._compare(todo, fd, name, found, known.get((number, name)))
            if len(self._batch) >= CHUNK:
                self.flush()
        after = b""
        while page := tree.children_after(number, after, CHUNK):
            after = page[-1].state.name
            for node in page:
                if looker.look(fd, Place(number, node.state.name)).facts is None:
                    self._missing(node)

    def _compare(
        self, todo: Todo, fd: int, name: bytes, found: os.stat_result, node: Node | None
    ) -> None:
        looker = self._tools.looker
        fs = looker.fs_by_device.get(found.st_dev, -1)
        is_directory = S_ISDIR(found.st_mode)
        if node is not None and unchanged_since(node.state, found, fs):
            if is_directory:
                below = _below(todo.path, name)
                self._stack.append(Todo(node.number, below, (fs, found.st_ino)))
            return
        place = Place(todo.number, name)
        if node is not None and node.state.ino == found.st_ino and self._is_held(place):
            return
        try:
            facts = looker.facts_at(found, fd, name)
        except FileNotFoundError:
            return  # it went away while we looked: hinted at
        self._batch[place] = Observation(place, facts)
        if is_directory:
            self._paths[place] = _below(todo.path, name)

    def _missing(self, node: Node) -> None:
        place = Place(node.state.parent, node.state.name)
        excluded = self._tools.looker.hidden.is_excluded(node.state.name)
        self._batch[place] = Observation(place, None, NOTHING, excluded=excluded)

    def _path(self, number: int) -> str:
        return os.fsdecode(self._tools.tree.path(number) or b"?")


def _below(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
