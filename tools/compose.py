"""The composition root: the only place that constructs the parts of a server and wires them."""

import logging
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from api.status import (
    Health,
    LogStatus,
    MetadataStatus,
    Progress,
    Readiness,
    RootState,
    RootStatus,
    Status,
    WatchStatus,
)
from eventlog.clock import Clock
from eventlog.errors import LogUnavailableError
from eventlog.events import Content
from projections.library_store import LibraryStore
from projections.tree import Tree
from tools import snapshots
from tools.config import Config
from tools.errors import OperatorError
from tools.feed_reader import FeedReader
from tools.maintenance import Maintenance
from tools.observing import READY_KEY, Observing
from tools.snapshots import Snapshots
from tools.upkeep import Task, Upkeep
from tools.watching import Watching
from watcher import status as watcher_status
from watcher.backend import Place
from watcher.describer import Describer, Roots, When
from watcher.metadata.pool import ProbePool
from watcher.metadata.task import Limits
from watcher.sysctl import watch_limit

BEHIND_MIN = 10_000
"""Places of a root that wait to be looked at, from which on no contents are read: a change is to be
seen soon, and then read."""

_log = logging.getLogger("nasfeed")

MEGABYTE = 1_000_000

COUNT_SECONDS = 10.0
"""Nodes are counted at most so often, because that reads the whole tree."""


class System:
    """Everything of a server but HTTP.

    Args:
        config: what to serve and how.
        clock: time.
        observing: its log and its roots, if they are observed already.

    Raises:
        LogError: the database cannot be used.
        OperatorError: the directory of the snapshots cannot.
    """

    def __init__(self, config: Config, clock: Clock, observing: Observing | None = None) -> None:
        self._observing = observing or Observing(config, clock)
        self.log = self._observing.log
        self.library = LibraryStore(self.log)
        self.snapshots = Snapshots(config.database, config.snapshots, clock)
        _prepare(self.snapshots, config)
        self.reader = FeedReader(self.log, self.snapshots.store)
        self.config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._absent: set[str] = set()
        self._initial = self._observing.ready_from
        self._ready = self._initial is not None and config.startup == "serve"
        self._counted: tuple[float, int, dict[int, int]] = (0.0, -1, {})
        self.observers = self._observing.observers
        self.describer = Describer(
            self.log,
            lambda: make_pool(config, clock),
            When(self._is_being_written, self._hashed_after, self._is_resting),
            Roots(self._observing.suspect, self._is_followed),
            clock,
        )
        before = self.snapshots.before_compaction
        self.maintenance = Maintenance(self.log, clock, config.history_days, config.archive, before)
        self.upkeep = Upkeep(self._upkeep_tasks(), clock)

    def start(self) -> list[str]:
        """Begin to observe.

        Returns:
            Names of roots that the configuration no longer has: they were removed.
        """
        removed = self._observing.start()
        if self._initial is not None:  # asked before an observer can answer it, and start it, too
            self.describer.start()
        self._observing.listen(self._note_ready)
        self.upkeep.start()
        return removed

    def stop(self) -> None:
        """End everything; what was appended is durable."""
        self._observing.ask_to_stop()
        self.describer.stop()
        self.snapshots.stop()
        self.upkeep.stop()
        self._observing.join()
        self.describer.join()
        self.upkeep.join()
        self.reader.close()
        self.library.close()
        self.log.close()

    def readiness(self) -> Readiness:
        """Say whether the feed may answer: every root was seen whole at least once."""
        states = [observer.status for observer in self.observers]
        return Readiness(
            ready=self._ready,
            waiting_for="" if self._ready else self._waiting_for(),
            progress=Progress(
                entries=sum(s.entries for s in states),
                directories=sum(s.directories for s in states),
                seconds=max(s.scan_seconds for s in states),
            ),
        )

    def sync(self) -> dict[str, Future[str]]:
        """Begin a barrier in every root; see `api.ports.BeginSync`."""
        return {
            observer.root.name: cast("Future[str]", observer.sync()) for observer in self.observers
        }

    def health(self) -> Health:
        """Say how the server is, for probes; from memory."""
        states = [observer.status for observer in self.observers]
        return Health(
            failure=str(self.log.failure or ""),
            waiting_for="" if self._ready else self._waiting_for(),
            offline=[s.name for s in states if s.state == RootState.OFFLINE],
        )

    def _waiting_for(self) -> str:
        states = [observer.status for observer in self.observers]
        absent = [s for s in states if s.state == RootState.OFFLINE]
        if absent:
            return f"root {absent[0].name}: {absent[0].reason}; or take it out of the configuration"
        return f"a scan of the roots, at {sum(s.entries for s in states)} entries"

    def count_unhashed(self) -> int:
        """Return how many files have no hash because it was skipped or failed."""
        with self.reader.connection() as connection:
            counts = Tree(connection).count_outstanding()
        return counts.get(Content.SKIPPED, 0) + counts.get(Content.FAILED, 0)

    def watching(self) -> Watching:
        """Say what is left out, and whether anything is still to be looked at."""
        states = [observer.status for observer in self.observers]
        return Watching(
            exclude=list(self.config.exclude),
            files=self._observing.own_files(),
            busy=self.log.queued > 0
            or any(s.hints or s.state in ("starting", "scanning") for s in states),
        )

    def status(self, version: str) -> Status:
        """Describe the whole server; reads the database."""
        states = [observer.status for observer in self.observers]
        described = self.describer.status
        nodes = self._count_nodes(states)
        return Status(
            version=version,
            log_id=self.log.log_id,
            head=self.log.head,
            floor=self.log.floor,
            ready=self._ready,
            roots=[_root_status(state, nodes.get(state.number, 0)) for state in states],
            metadata=MetadataStatus(
                pending=described.pending,
                done=described.done,
                failed=described.failed,
                per_second=described.per_second,
                workers=described.workers,
                restarts=described.deaths,
                quiet=self._observing.is_quiet(),
            ),
            watches=WatchStatus(used=watcher_status.watches_used(states), limit=watch_limit()),
            log=self._log_status(),
            warnings=[
                *self.maintenance.warnings,
                *_warnings(states),
                *filter(None, [described.problem]),
                *self.upkeep.problems,
            ],
        )

    def _upkeep_tasks(self) -> list[Task]:
        take = Task("snapshot", snapshots.LOOK_SECONDS, self._take_snapshot)
        return [take, *self.maintenance.tasks()]

    def _take_snapshot(self, stop: threading.Event) -> None:
        if self._ready:  # half a first scan is not worth keeping
            self.snapshots.take_due(stop)

    def _note_ready(self) -> None:
        """Note, on an observer's thread, that a scan ended or a root went away."""
        with self._lock:
            states = [observer.status for observer in self.observers]
            self._note_absent(states)
            if self._ready and self._initial is not None:
                return
            # A new log knows nothing of an absent root. To serve it as empty would be a lie, of
            # which clients that come from a log that was lost would remove all that they have.
            absent_counts = self._initial is None
            if any(not s.scans and (absent_counts or s.state != "offline") for s in states):
                return
            if self._initial is None:
                self._initial = str(self.log.head)
                self.log.call(lambda tx: tx.set_meta(READY_KEY, str(self._initial)))
                # Not before: nobody can ask for hashes yet, and the first scan is waited for.
                self.describer.start()
            self._ready = True
        self.describer.put_aside_backlog()

    def _note_absent(self, states: Iterable[watcher_status.RootStatus]) -> None:
        """Have what could not be read tried again when a root has returned."""
        absent = {state.name for state in states if state.state == "offline"}
        returned, self._absent = self._absent - absent, absent
        if returned:
            self.describer.retry_failed()

    def _is_followed(self, root: int) -> bool:
        states = [observer.status for observer in self.observers]
        return any(state.number == root and state.state != "offline" for state in states)

    def _is_resting(self) -> bool:
        behind = any(len(settling) > BEHIND_MIN for settling in self._observing.settlings)
        return behind or self._observing.is_quiet()

    def _is_being_written(self, place: Place) -> bool:
        now = self._clock.monotonic()
        return any(settling.is_being_written(place, now) for settling in self._observing.settlings)

    def _hashed_after(self) -> int | None:
        if not self.config.skip_initial_hash:
            return 0
        return None if self._initial is None else int(self._initial)

    def _count_nodes(self, states: list[watcher_status.RootStatus]) -> dict[int, int]:
        when, head, counts = self._counted
        now = self._clock.monotonic()
        if head != self.log.head and now - when > COUNT_SECONDS:
            with self.reader.connection() as connection:
                tree = Tree(connection)
                counts = {s.number: tree.count_below(s.number) for s in states if s.number}
            self._counted = (now, self.log.head, counts)
        return counts

    def _log_status(self) -> LogStatus:
        with self.reader.connection() as connection:
            events = Tree(connection).count_events()
        listed = self.snapshots.newest
        newest = listed.header if listed else None
        return LogStatus(
            events=events,
            database_bytes=file_size(self.log.path),
            wal_bytes=file_size(f"{self.log.path}-wal"),
            queue=self.log.queued,
            full=self.log.full or self.log.reserved,
            snapshot=newest.position if newest else 0,
            snapshot_time=_iso(newest.time_us) if newest else "",
        )


def make_pool(config: Config, clock: Clock) -> ProbePool:
    """Return the workers that read files, none of which has started yet."""
    rate = config.metadata_rate * MEGABYTE / config.metadata_workers
    return ProbePool(config.metadata_workers, limits=Limits(bytes_per_second=rate), clock=clock)


def root_state(status: watcher_status.RootStatus) -> RootState:
    """Return the state of a root in the words of the API."""
    return RootState.SCANNING if status.state == "starting" else RootState(status.state)


def _root_status(state: watcher_status.RootStatus, nodes: int) -> RootStatus:
    progress = Progress(
        entries=state.entries, directories=state.directories, seconds=state.scan_seconds
    )
    return RootStatus(
        name=state.name,
        path=state.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        state=root_state(state),
        reason=state.reason,
        backend=state.backend,
        backend_reason=state.backend_reason,
        withheld=state.withheld,
        nodes=nodes,
        last_scan=_iso(state.scanned_us),
        watches=state.watches,
        scan=progress if root_state(state) is RootState.SCANNING else None,
        hints_queued=state.hints,
        overflows=state.overflows,
        rescans=state.scans,
        repairs=state.repairs,
    )


def _warnings(states: list[watcher_status.RootStatus]) -> list[str]:
    found = []
    for state in states:
        if state.warning:
            found.append(f"root {state.name}: {state.warning}")
        if state.unreadable:
            found.append(f"root {state.name}: {state.unreadable} directories cannot be read")
        if state.unmounted:
            found.append(
                f"root {state.name}: what was mounted on {state.unmounted} directories is absent"
            )
    return found


def _iso(time_us: int) -> str:
    """Write a time as ISO 8601; none as the empty string."""
    if not time_us:
        return ""
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat()


def file_size(path: str) -> int:
    """Return the bytes of a file; 0 when it is not there."""
    try:
        return Path(path).stat().st_size
    except FileNotFoundError:
        return 0


def _prepare(kept: Snapshots, config: Config) -> None:
    try:
        kept.prepare()
    except LogUnavailableError as error:
        with config.blaming("snapshots.directory"):
            raise OperatorError(str(error)) from error
