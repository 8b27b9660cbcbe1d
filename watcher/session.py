"""What is open while a root is followed."""

import logging
import os
from collections.abc import Callable
from typing import NamedTuple, Self

from eventlog.connection import open_reader
from eventlog.events import DISK, SUPER_ROOT
from eventlog.log import Log
from projections.tree import Tree
from watcher.backend import Backend, Foresighted, Place, WatchLimitError
from watcher.choose import Choice
from watcher.cookie import remove_leftovers
from watcher.directories import Directories
from watcher.excludes import Excludes
from watcher.filesystems import Filesystems
from watcher.hidden import PrivateFiles
from watcher.look import Looker
from watcher.mounts import Mount, MountTable
from watcher.nursery import Nursery
from watcher.recorder import Recorded, Recorder
from watcher.root import Root, RootAbsentError, is_empty, judge, open_root
from watcher.scan import Tools
from watcher.vanished import Vanished
from watcher.walk import Rules
from watcher.walkers import Walkers
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
        choose: chooses a backend for a root, given a descriptor of its directory.
        polling_seconds: between comparisons where others may write unnoticed, as on a network
            filesystem.
        directories_max: descriptors of directories kept open.
        removal_percent: of a large root, that one comparison may remove without asking.
        is_quiet: whether disks are left to sleep now.
        vanished: remembers names that came and went unseen, in any root.
        elsewhere: has a place below another root looked at.
        others_walk: whether another root is being walked, in which something may turn up that is
            missing here.
        nursery: makes processes that help with scans, if there are to be any.
    """

    excluded: Excludes
    private: PrivateFiles
    rescan_seconds: float
    limited_rescan_seconds: float
    polling_seconds: float
    directories_max: int
    choose: Callable[[int], Choice]
    removal_percent: float
    is_quiet: Callable[[], bool]
    vanished: Vanished
    elsewhere: Callable[[Place], None]
    others_walk: Callable[[], bool]
    nursery: Nursery | None = None


class Session:
    """What is open while a root is followed.

    Attributes:
        device: `st_dev` and `st_ino` of the root, as of the last look at it.
    """

    def __init__(self, log: Log, root: Root, settings: Settings) -> None:
        self.limit_message = ""
        self._limit: WatchLimitError | None = None
        self._unwatched_count = 0
        self.was_full = False
        self.aftermath: Callable[[Recorded], None] = _nothing
        self._log = log
        self._root = root
        self._connection = open_reader(log.path)
        self._mounts = MountTable()
        self._settings = settings
        self._looker = Looker(Filesystems(self._mounts), settings.excluded, settings.private)
        self._tree = Tree(self._connection)
        self._directories = Directories(self._tree, self._looker.file, settings.directories_max)
        self._choice: Choice | None = None
        self._file: tuple[int, int] | None = None
        self.device: tuple[int, int] | None = None
        self._mount: Mount | None = None
        self._below: tuple[Mount, ...] = ()
        self._remounted = False
        self._walkers: Walkers | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._walkers is not None:
            self._walkers.close()
        if self._choice is not None:
            self._choice.backend.close()
        self._directories.close()
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
            facts = self._looker.facts(fd)
            known = self._tree.child(SUPER_ROOT, self._root.raw_name)
            self.was_full = known is not None and self._tree.has_children(known.number)
            self.device = device_of(fd)
            if not accept:
                self._refuse_stranger(
                    judge(known, facts, was_full=self.was_full, empty=is_empty(fd))
                )
            remove_leftovers(fd)
            self._mount = self._mounts.holding(fd)
            self._choice = self._settings.choose(fd)
        finally:
            os.close(fd)
        self.tools = self._make_tools(self._choice.backend)
        path = os.path.realpath(self._root.path)
        number = self.tools.recorder.attach(self._root.raw_name, path, facts, DISK)
        self._file = (facts.fs, facts.ino)
        self._below = tuple(self._mounts.below(path))
        self.tools.directories.set_root(number, self._open)
        return number

    def _make_tools(self, backend: Backend) -> Tools:
        settings = self._settings
        return Tools(
            backend=backend,
            tree=self._tree,
            directories=self._directories,
            looker=self._looker,
            widener=Widener(self._tree, self._directories, self._looker, settings.elsewhere),
            recorder=Recorder(self._log),
            warn=self._warn,
            unwatched=self._unwatched,
            vanished=settings.vanished,
            aftermath=self._aftermath,
            elsewhere=settings.elsewhere,
            removal_percent=settings.removal_percent,
            hire=self._hire,
        )

    def _hire(self, top: int) -> Walkers | None:
        """Have processes help with a scan of what is below an open directory, if that can be."""
        nursery, backend, settings = self._settings.nursery, self.backend, self._settings
        if nursery is None or not isinstance(backend, Foresighted):
            return None
        mounts = backend.foresee()
        if mounts is None:
            return None
        private = tuple((*where, names) for where, names in settings.private.items())
        devices = self._looker.fs_by_device
        rules = Rules(self._log.path, settings.excluded.patterns, private, devices, dict(mounts))
        self._walkers = Walkers(nursery, backend, rules, top, self._warn)
        if self._walkers:
            return self._walkers
        self._walkers.close()
        return None

    def _warn(self, message: str) -> None:
        _log.warning("root %s: %s", self._root.name, message)

    @property
    def backend(self) -> Backend:
        """What tells of changes, once the root is attached."""
        return self.tools.backend

    @property
    def polling_seconds(self) -> float | None:
        """How often to compare because others may write unnoticed; None: nobody can."""
        return self._settings.polling_seconds if self._polled_types else None

    @property
    def reason(self) -> str:
        """Why this backend was chosen, and what is compared beside it, for the operator."""
        reason = self._choice.reason if self._choice is not None else ""
        types, seconds = ", ".join(self._polled_types), self._settings.polling_seconds
        if not types:
            return reason
        return f"{reason}; compared every {seconds:g} s as well, for {types} tells only of our own"

    @property
    def warning(self) -> str:
        """What the operator should do something about, else ""."""
        warning = self._choice.warning if self._choice is not None else ""
        return "; ".join(filter(None, [warning, self.limit_message]))

    @property
    def _polled_types(self) -> list[str]:
        mounts = [self._mount, *self._below]
        return sorted({mount.fs_type for mount in mounts if mount and mount.needs_polling})

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
            found = self._looker.file(fd)
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
        self._refuse_other_mount()
        below = tuple(self._mounts.below(os.path.realpath(self._root.path)))
        changed, self._below = below != self._below, below
        return changed

    def _refuse_other_mount(self) -> None:
        """Have the root attached anew, and a backend proved again, when it was mounted anew."""
        fd = self._open()
        try:
            if self._mounts.holding(fd) != self._mount:
                raise RootAbsentError("it was mounted anew")
        finally:
            os.close(fd)

    def _look_at_mounts(self) -> None:
        """Forget what device numbers stand for as soon as anything was mounted or unmounted.

        Even if the table is what it was: another disk may have got the number of the last one.
        """
        if self._mounts.touched():
            self._mounts.reread()
            self._looker.forget()
            self._remounted = True

    @property
    def is_noticed(self) -> bool:
        """Whether all that happens in the root is noticed, and no directory lacks a watch."""
        if self.limit_message or self._polled_types:
            return False
        return self.backend.name != "poll"

    def path_of(self, number: int) -> str:
        """Return the path of a node for people to read."""
        return os.fsdecode(self._tree.path(number) or b"?")

    def was_scanned(self) -> bool:
        """Say whether the root was ever seen whole."""
        key = SCANNED_KEY + self._root.name
        return self._log.call(lambda tx: tx.meta(key)) is not None

    def set_scanned(self) -> None:
        """Remember that the root was seen whole."""
        key = SCANNED_KEY + self._root.name
        self._log.call(lambda tx: tx.set_meta(key, "1"))

    def scan_began(self) -> None:
        """Note that a scan of the whole root begins, which meets whatever cannot be watched."""
        self._limit = None
        self._unwatched_count = 0

    def scan_ended(self) -> None:
        """Note that it ended: what it did not meet any more is over."""
        before = self.limit_message
        self.limit_message = self._limit.advice(self._unwatched_count) if self._limit else ""
        if self.limit_message not in ("", before):
            _log.warning("root %s: %s", self._root.name, self.limit_message)

    def backend_scanned(self, seconds: float) -> None:
        """Tell a polling backend how long a scan takes."""
        scanned = getattr(self.backend, "scanned", None)
        if scanned is not None:
            scanned(seconds)

    def _aftermath(self, recorded: Recorded) -> None:
        self.aftermath(recorded)

    def _unwatched(self, error: WatchLimitError) -> None:
        self._limit = error
        self._unwatched_count += 1
        if not self.limit_message:
            self.limit_message = str(error)
            _log.warning("root %s: %s", self._root.name, error)


def device_of(fd: int) -> tuple[int, int]:
    """Return which file a descriptor stands for until its filesystem is unmounted."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _nothing(_: Recorded) -> None:
    """Stand in until there is a follower; nothing is recorded before."""
