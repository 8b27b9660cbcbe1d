"""What is open while a root is followed."""

import logging
import os
from collections.abc import Callable
from typing import NamedTuple, Self

from eventlog.connection import open_reader
from eventlog.events import DISK, SUPER_ROOT
from eventlog.log import Log
from projections.tree import Tree
from watcher.backend import Backend, Place
from watcher.barrier import remove_leftovers
from watcher.directories import Directories
from watcher.excludes import Excludes
from watcher.filesystems import Filesystems
from watcher.look import Looker, PrivateFiles
from watcher.mounts import MountTable
from watcher.recorder import Recorded, Recorder
from watcher.root import Root, RootAbsentError, is_empty, judge, open_root
from watcher.scan import Tools
from watcher.widen import Widener

SCANNED_KEY = "scanned:"
"""Prefix of the facts in the log's meta table that say which roots were once seen whole."""

_log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """How roots are watched.

    Attributes:
        excluded: which names are excluded.
        private: the server's own files.
        rescan_seconds: a full comparison about so often, because some changes give no hint.
        limited_rescan_seconds: the same while watches have run out.
        open_backend: makes a backend for a root.
        elsewhere: has a place below another root looked at.
        others_walk: whether another root is being walked, in which something may turn up that is
            missing here.
    """

    excluded: Excludes
    private: PrivateFiles
    rescan_seconds: float
    limited_rescan_seconds: float
    open_backend: Callable[[Root], Backend]
    elsewhere: Callable[[Place], None]
    others_walk: Callable[[], bool]


class Session:
    """What is open while a root is followed.

    Attributes:
        device: `st_dev` and `st_ino` of the root, as of the last look at it.
    """

    def __init__(self, log: Log, root: Root, settings: Settings) -> None:
        self.limit_message = ""
        self.was_full = False
        self.aftermath: Callable[[Recorded], None] = _nothing
        self._log = log
        self._root = root
        self._connection = open_reader(log.path)
        self._mounts = MountTable()
        looker = Looker(Filesystems(self._mounts), settings.excluded, settings.private)
        tree = Tree(self._connection)
        directories = Directories(tree, looker.file)
        self.backend = settings.open_backend(root)
        self.tools = Tools(
            backend=self.backend,
            tree=tree,
            directories=directories,
            looker=looker,
            widener=Widener(tree, directories, looker, settings.elsewhere),
            recorder=Recorder(log),
            warn=lambda message: _log.warning("root %s: %s", root.name, message),
            unwatched=self._unwatched,
            aftermath=self._aftermath,
            elsewhere=settings.elsewhere,
        )
        self._file: tuple[int, int] | None = None
        self.device: tuple[int, int] | None = None
        self._below: tuple[object, ...] = ()
        self._remounted = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.close()
        self.tools.directories.close()
        self._mounts.close()
        self._connection.close()

    def attach(self, *, accept: bool) -> int:
        """Find the root and record that it is there.

        Args:
            accept: even if it is not what it was.

        Returns:
            Its node number.

        Raises:
            RootAbsentError: it is not there.
        """
        fd = open_root(self._root)
        try:
            facts = self.tools.looker.facts(fd)
            known = self.tools.tree.child(SUPER_ROOT, self._root.raw_name)
            self.was_full = known is not None and self.tools.tree.has_children(known.number)
            self.device = device_of(fd)
            if not accept:
                self._refuse_stranger(
                    judge(known, facts, was_full=self.was_full, empty=is_empty(fd))
                )
            remove_leftovers(fd)
        finally:
            os.close(fd)
        path = os.path.realpath(self._root.path)
        number = self.tools.recorder.attach(self._root.raw_name, path, facts, DISK)
        self._file = (facts.fs, facts.ino)
        self._below = tuple(self._mounts.below(path))
        self.tools.directories.set_root(number, self._open)
        return number

    def _refuse_stranger(self, reason: str | None) -> None:
        if reason is not None:
            raise RootAbsentError(
                f"{reason}; if that is right, run: nasfeed confirm-removal {self._root.name}"
            )

    def check(self) -> None:
        """Raise RootAbsentError when the root's path no longer leads to the root."""
        os.close(self._open())

    def _open(self) -> int:
        """Open the root and make sure that it is the root."""
        self._look_at_mounts()
        fd = open_root(self._root)
        try:
            found = self.tools.looker.file(fd)
        except OSError:
            os.close(fd)
            raise
        if found != self._file:
            os.close(fd)
            raise RootAbsentError("another directory is at its path now")
        self.device = device_of(fd)
        return fd

    def mounts_changed(self) -> bool:
        """Say whether anything was mounted or unmounted below the root since the last call."""
        self._look_at_mounts()
        if not self._remounted:
            return False
        self._remounted = False
        below = tuple(self._mounts.below(os.path.realpath(self._root.path)))
        changed, self._below = below != self._below, below
        return changed

    def _look_at_mounts(self) -> None:
        """Forget what device numbers stand for as soon as anything was mounted or unmounted.

        Even if the table is what it was: another disk may have got the number of the last one.
        """
        if self._mounts.touched():
            self._mounts.reread()
            self.tools.looker.forget()
            self._remounted = True

    @property
    def is_noticed(self) -> bool:
        """Whether all that happens in the root is noticed, and no directory lacks a watch."""
        return self.backend.name != "poll" and not self.limit_message

    def path_of(self, number: int) -> str:
        """Return the path of a node for people to read."""
        return os.fsdecode(self.tools.tree.path(number) or b"?")

    def was_scanned(self) -> bool:
        """Say whether the root was ever seen whole."""
        key = SCANNED_KEY + self._root.name
        return self._log.call(lambda tx: tx.meta(key)) is not None

    def set_scanned(self) -> None:
        """Remember that the root was seen whole."""
        key = SCANNED_KEY + self._root.name
        self._log.call(lambda tx: tx.set_meta(key, "1"))

    def backend_scanned(self, seconds: float) -> None:
        """Tell a polling backend how long a scan takes."""
        scanned = getattr(self.backend, "scanned", None)
        if scanned is not None:
            scanned(seconds)

    def _aftermath(self, recorded: Recorded) -> None:
        self.aftermath(recorded)

    def _unwatched(self, message: str) -> None:
        if not self.limit_message:
            _log.warning("root %s: %s", self._root.name, message)
        self.limit_message = message


def device_of(fd: int) -> tuple[int, int]:
    """Return which file a descriptor stands for until its filesystem is unmounted."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _nothing(_: Recorded) -> None:
    """Stand in until there is a follower; nothing is recorded before."""
