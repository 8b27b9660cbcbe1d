"""The roots of a server and its log: all that has to be there before scans can begin.

The rest of a server takes as long to import as a disk of some ten thousand files to list.
"""

import contextlib
import os
import threading
from collections.abc import Callable

from eventlog.ballast import Ballast
from eventlog.clock import Clock
from eventlog.connection import open_reader
from projections.replay import FOLDS, LIBRARY_FOLDS
from projections.tree import Tree
from tools.config import Config, server_files, snapshot_directory
from tools.errors import OperatorError
from tools.opening import open_log
from watcher.backend import Place
from watcher.choose import choose
from watcher.directories import directories_max
from watcher.excludes import Excludes
from watcher.hidden import private_files
from watcher.nursery import Nursery
from watcher.observer import Observer, detach_missing
from watcher.quiet import QuietHours
from watcher.root import Root
from watcher.session import Settings
from watcher.settle import Settling
from watcher.status import RootStatus
from watcher.vanished import Vanished

READY_KEY = "ready"
"""Fact in the log's meta table: the position up to which the very first scans had recorded."""

LIMITED_RESCAN_SECONDS = 30.0
"""Between comparisons with the disk while the kernel gives no more watches."""


class Observing:
    """Observes the roots.

    Args:
        config: which, and how.
        clock: time.
        nursery: makes processes that help with the first scans, if there are to be any.

    Attributes:
        ready_from: up to where the very first scans had recorded when the log was opened; None
            when they had not ended yet.
        settlings: what waits to be looked at, by root.

    Raises:
        LogError: the database cannot be used.
        OperatorError: the directory of the snapshots cannot be made.
    """

    def __init__(self, config: Config, clock: Clock, nursery: Nursery | None = None) -> None:
        folds = LIBRARY_FOLDS if config.library.enabled else FOLDS
        self.log = open_log(config.database, folds, clock, Ballast(config.database))
        self.ready_from = self.log.call(lambda tx: tx.meta(READY_KEY))
        self.settlings: list[Settling] = []
        self._config = config
        self._clock = clock
        self._nursery = nursery
        self._quiet = QuietHours(config.quiet_hours)
        self._vanished = Vanished(clock)
        self._lock = threading.Lock()
        self._listener: Callable[[], None] | None = None
        self._started = False
        self._make_snapshot_directory()
        self.observers = [self._observer(root.name, root.path) for root in config.roots]

    def start(self) -> list[str]:
        """Begin to observe; a second call does nothing.

        Returns:
            Names of roots that the configuration no longer has: they were removed.
        """
        if self._started:
            return []
        self._started = True
        removed = detach_missing(self.log, [observer.root for observer in self.observers])
        for observer in self.observers:
            observer.start()
        return removed

    def listen(self, listener: Callable[[], None]) -> None:
        """Have something called whenever a scan ends or a root comes or goes, and once now.

        Args:
            listener: called on the thread of an observer, or on this one.
        """
        with self._lock:
            self._listener = listener
        listener()

    def ask_to_stop(self) -> None:
        """Have the observers end soon."""
        for observer in self.observers:
            observer.stop()

    def join(self) -> None:
        """Wait until the observers have ended, and with them who helps them."""
        if self._started:
            for observer in self.observers:
                observer.join()
        if self._nursery is not None:
            self._nursery.close()

    def stop(self) -> None:
        """End everything; what was appended is durable."""
        self.ask_to_stop()
        self.join()
        self.log.close()

    def statuses(self) -> list[RootStatus]:
        """Return the state of each root."""
        return [observer.status for observer in self.observers]

    def is_quiet(self) -> bool:
        """Say whether disks are left to sleep now."""
        return self._quiet.hold(self._clock.now_us())

    def own_files(self) -> list[str]:
        """Return the files of the server itself, which are never in the feed."""
        config = self._config
        thumbs = config.library.thumb_path
        return server_files(
            config.database, config.log_path, config.snapshots, config.archive, thumbs
        )

    def suspect(self, root: int, place: Place) -> None:
        """Have a place in a root looked at again.

        Args:
            root: number of the root.
            place: which.
        """
        for observer in self.observers:
            if observer.status.number == root:
                observer.suspect(place)

    def _observer(self, name: str, path: str) -> Observer:
        config = self._config
        settings = Settings(
            excluded=Excludes(config.exclude),
            private=private_files(map(os.fsencode, self.own_files())),
            rescan_seconds=config.rescan_interval,
            limited_rescan_seconds=LIMITED_RESCAN_SECONDS,
            polling_seconds=config.poll_interval,
            removal_percent=config.removal_percent,
            is_quiet=self.is_quiet,
            vanished=self._vanished,
            directories_max=directories_max(len(config.roots)),
            choose=lambda fd: choose(config.backend, fd, self._clock, config.poll_interval),
            elsewhere=self._look_elsewhere,
            others_walk=lambda: any(
                other.status.walking for other in self.observers if other.root.name != name
            ),
            nursery=self._nursery,
        )
        settling = Settling()
        self.settlings.append(settling)
        root = Root(name, os.fsencode(path))
        return Observer(root, self.log, settings, settling, self._clock, self._changed)

    def _make_snapshot_directory(self) -> None:
        """Make it before it is asked which files are the server's own: they must be somewhere."""
        directory = snapshot_directory(self._config.database, self._config.snapshots)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            self.log.close()
            with self._config.blaming("snapshots.directory"):
                raise OperatorError(f"{directory}: {error.strerror}") from error

    def _changed(self) -> None:
        """Note, on an observer's thread, that a scan ended or a root went away."""
        with self._lock:
            listener = self._listener
        if listener is not None:
            listener()
        states = self.statuses()
        if self._nursery is not None and all(s.scans or s.state == "offline" for s in states):
            self._nursery.close()

    def _look_elsewhere(self, place: Place) -> None:
        with contextlib.closing(open_reader(self.log.path)) as connection:
            chain = Tree(connection).ancestors(place.directory)
        if chain:
            self.suspect(chain[0], place)
