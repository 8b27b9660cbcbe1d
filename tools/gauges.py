"""What `/metrics` says of a server's parts: read from memory and three files' sizes at each scrape.

Names follow https://prometheus.io/docs/practices/naming/. Nothing here reads the database.
"""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from api.connections import Connections
from api.status import RootState
from eventlog.log import Log
from tools.compose import System, file_size, root_state
from tools.webhooks import Receiver
from watcher.status import RootStatus, watches_used
from watcher.sysctl import watch_limit

_US = 1_000_000


class Gauges(Collector):
    """The metrics of everything but HTTP requests.

    Args:
        system: whose.
        connections: the open ones of its HTTP server.
        version: of the program.
    """

    def __init__(self, system: System, connections: Connections, version: str) -> None:
        self._system = system
        self._connections = connections
        self._version = version

    def describe(self) -> Iterable[Metric]:
        """Say nothing: without this, being registered would already read everything."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        system = self._system
        states = [observer.status for observer in system.observers]
        build = Gauge("nasfeed_build", "What runs here.", labels=["version", "log_id"])
        build.add_metric([self._version, system.log.log_id], 1)
        yield build
        yield Gauge(
            "nasfeed_ready", "Whether the feed answers.", value=int(system.readiness().ready)
        )
        yield Gauge("nasfeed_http_connections", "Open connections.", value=len(self._connections))
        failing = len(system.upkeep.problems)
        yield Gauge("nasfeed_upkeep_failing", "Tasks whose last turn failed.", value=failing)
        yield from _log(system.log)
        yield from _roots(states)
        yield from _watches(states)
        yield from _metadata(system)


class Disk(Collector):
    """The metrics of the filesystem over HTTP.

    Args:
        requests: that it was asked.
        connections: its open ones.
    """

    def __init__(self, requests: Collector, connections: Connections) -> None:
        self._requests = requests
        self._connections = connections

    def describe(self) -> Iterable[Metric]:
        """Say nothing, as `Gauges`."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Read everything now."""
        count = len(self._connections)
        yield Gauge("nasfeed_spockfs_connections", "Open connections of SpockFS.", value=count)
        yield from self._requests.collect()


def _log(log: Log) -> Iterator[Metric]:
    yield Gauge("nasfeed_log_head_position", "Last durable position.", value=log.head)
    yield Gauge("nasfeed_log_floor_position", "First position honoured.", value=log.floor)
    # Positions have no gaps, so the head counts the events, compacted ones included.
    yield Counter("nasfeed_log_events", "Events ever appended.", value=log.head)
    yield Counter(
        "nasfeed_log_commits", "Commits that appended, since the start.", value=log.wakeup.count()
    )
    yield Gauge("nasfeed_log_queue", "Transactions waiting to be written.", value=log.queued)
    yield Gauge(
        "nasfeed_log_failed", "Whether the log is closed for good.", value=log.failure is not None
    )
    yield Gauge("nasfeed_database_bytes", "Size of the database file.", value=file_size(log.path))
    wal = file_size(f"{log.path}-wal")
    yield Gauge("nasfeed_wal_bytes", "Size of its write-ahead log.", value=wal)


def _roots(states: Sequence[RootStatus]) -> Iterator[Metric]:
    state = Gauge("nasfeed_root_state", "1 for the state a root is in.", labels=["root", "state"])
    for status in states:
        for each in RootState:
            state.add_metric([status.name, each], root_state(status) is each)
    yield state
    scanned = {s.name: s.scanned_us / _US for s in states if s.scanned_us}
    yield _by_root(
        Gauge("nasfeed_root_last_scan_timestamp_seconds", "End of the last whole scan.", labels=_R),
        scanned,
    )
    for family, attribute in _families():
        yield _by_root(family, {s.name: getattr(s, attribute) for s in states})


_R = ("root",)


def _families() -> Iterator[tuple[Gauge | Counter, str]]:
    """Yield the metrics that each root has, and where in its status they are."""
    yield Counter("nasfeed_root_scans", "Whole scans since the start.", labels=_R), "scans"
    yield Gauge("nasfeed_root_scan_entries", "Entries seen by a scan.", labels=_R), "entries"
    yield Gauge("nasfeed_root_scan_seconds", "How long a scan takes.", labels=_R), "scan_seconds"
    yield Gauge("nasfeed_root_hints", "Names to be looked at.", labels=_R), "hints"
    yield Counter("nasfeed_root_overflows", "Times that hints were lost.", labels=_R), "overflows"
    yield Counter("nasfeed_root_repairs", "Differences only a scan found.", labels=_R), "repairs"
    yield Gauge("nasfeed_root_watches", "Directories that are watched.", labels=_R), "watches"
    unreadable = "Directories that the last scan could not list."
    yield Gauge("nasfeed_root_unreadable_directories", unreadable, labels=_R), "unreadable"


def _by_root(family: Gauge | Counter, values: dict[str, float]) -> Metric:
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def _watches(states: Sequence[RootStatus]) -> Iterator[Metric]:
    used = watches_used(states)
    yield Gauge("nasfeed_watches", "Watches of the kernel in use here.", value=used)
    limit = watch_limit()
    yield Gauge("nasfeed_watches_limit", "Watches that one user may have.", value=limit)


def _metadata(system: System) -> Iterator[Metric]:
    status = system.describer.status
    yield Gauge("nasfeed_metadata_pending", "Files to be read.", value=status.pending)
    yield Counter("nasfeed_metadata_done", "Files read since the start.", value=status.done)
    yield Counter("nasfeed_metadata_failed", "Files that could not be read.", value=status.failed)
    yield Gauge("nasfeed_metadata_workers", "Worker processes.", value=status.workers)
    yield Counter("nasfeed_metadata_worker_restarts", "Workers replaced.", value=status.deaths)


class Deliveries(Collector):
    """The metrics of webhooks.

    Args:
        receivers: those who are called.
    """

    def __init__(self, receivers: Sequence[Receiver]) -> None:
        self._receivers = receivers

    def describe(self) -> Iterable[Metric]:
        """Say nothing, as `Gauges` does."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        head = Gauge("nasfeed_webhook_head_position", "Last position told.", labels=["receiver"])
        taken = Counter("nasfeed_webhook_deliveries", "Messages taken.", labels=["receiver"])
        failed = Counter("nasfeed_webhook_failures", "Attempts failed.", labels=["receiver"])
        # Two receivers may be on one host; their secret paths cannot tell them apart here.
        for index, receiver in enumerate(self._receivers):
            status = receiver.status
            labels = [f"{index} {status.receiver}"]
            head.add_metric(labels, status.head)
            taken.add_metric(labels, status.deliveries)
            failed.add_metric(labels, status.failed_attempts)
        yield from (head, taken, failed)
