"""What `/api/v1/status` says. The composition root fills these in."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec


class RootState(StrEnum):
    """Whether the feed follows a root."""

    SCANNING = "scanning"
    """It is being compared with the disk; changes since then are not lost."""
    ONLINE = "online"
    """Every change is followed."""
    OFFLINE = "offline"
    """It cannot be read (absent, unmounted, swapped); what is known of it is kept."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a scan is.

    Attributes:
        entries: how many entries it has looked at.
        directories: how many of them were directories.
        seconds: how long it has been running.
    """

    entries: int = 0
    directories: int = 0
    seconds: float = 0.0


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the log has ever seen every root whole.

    Attributes:
        ready: it has; from then on the feed answers, also after a restart.
        waiting_for: what must come first, one line; "" when it is ready.
        progress: of the first scan, all roots together.
    """

    ready: bool
    waiting_for: str = ""
    progress: Progress = Progress()


class RootStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One root.

    Attributes:
        name: as configured.
        path: absolute; bytes that are no UTF-8 are replaced.
        state: whether it is followed.
        reason: why it is not online, one line, else "".
        backend: where its hints come from: fanotify, inotify or poll.
        backend_reason: why from there, one line.
        nodes: how many live nodes it has, itself included.
        watches: how many directories the kernel watches for it.
        last_scan: when the last whole comparison ended, ISO 8601, or "" before the first.
        scan: progress of the running comparison, or None.
        hints_queued: names that are still to be looked at.
        overflows: how often the kernel dropped hints.
        rescans: how many whole comparisons were made.
        repairs: how many differences comparisons found that no hint had told of.
        withheld: nodes found missing that are kept until `nasfeed confirm-removal`.
    """

    name: str
    path: str
    state: RootState
    reason: str = ""
    backend: str = ""
    backend_reason: str = ""
    nodes: int = 0
    watches: int = 0
    last_scan: str = ""
    scan: Progress | None = None
    hints_queued: int = 0
    overflows: int = 0
    rescans: int = 0
    repairs: int = 0
    withheld: int = 0


class MetadataStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The computing of hashes, types and dimensions.

    Attributes:
        pending: files still to be read.
        done: files read since the start.
        failed: files whose reading failed; not tried again until they change.
        per_second: files read a second, lately.
        workers: worker processes.
        restarts: how many workers had to be replaced.
        quiet: whether these are `quiet_hours`, so that no file is read.
    """

    pending: int = 0
    done: int = 0
    failed: int = 0
    per_second: float = 0.0
    workers: int = 0
    restarts: int = 0
    quiet: bool = False


class WatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Watches of the kernel, all roots together.

    Attributes:
        used: by this server.
        limit: what the kernel allows one user; 0 when unknown.
    """

    used: int = 0
    limit: int = 0


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The log.

    Attributes:
        events: how many events it holds.
        database_bytes: size of the database file.
        wal_bytes: size of its write-ahead log.
        queue: transactions that wait to be written.
        full: whether nothing can be recorded, because the disk is full.
        snapshot: as of which position the newest snapshot is; 0: there is none.
        snapshot_time: when it was taken, ISO 8601, or "".
    """

    events: int = 0
    database_bytes: int = 0
    wal_bytes: int = 0
    queue: int = 0
    full: bool = False
    snapshot: int = 0
    snapshot_time: str = ""


class WebhookState(StrEnum):
    """How a receiver of webhooks does."""

    WAITING = "waiting"
    """It was not called yet."""
    DELIVERED = "delivered"
    """It took the last message."""
    FAILING = "failing"
    """It did not take the last one; it is called again, ever more rarely."""
    GONE = "gone"
    """It said that it wants no more, and is called no more until the server starts again."""


class WebhookStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of webhooks.

    Attributes:
        receiver: scheme, host and port of its URL; the rest may be a secret.
        state: how it does.
        head: the last position that it was told.
        delivered: when, ISO 8601; "" before the first message.
        deliveries: messages that it took since the start.
        failures: attempts that failed since then.
        failed_attempts: attempts that failed since the start.
        error: why the last attempt failed, one line; "" when it did not.
    """

    receiver: str
    state: WebhookState = WebhookState.WAITING
    head: int = 0
    delivered: str = ""
    deliveries: int = 0
    failures: int = 0
    failed_attempts: int = 0
    error: str = ""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole server.

    Attributes:
        version: of the program.
        log_id: epoch of the positions.
        head: last durable position.
        floor: first position that is honoured as a cursor; 0: all are.
        ready: whether the feed answers.
        warnings: what an operator should know, one line each.
        webhooks: those who are told of news.
    """

    version: str
    log_id: str
    head: int
    floor: int
    ready: bool
    roots: list[RootStatus]
    metadata: MetadataStatus
    watches: WatchStatus
    log: LogStatus
    warnings: list[str]
    webhooks: list[WebhookStatus] = []


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the server is, from memory.

    Attributes:
        failure: why it must be restarted, one line; "" while it lives.
        waiting_for: why the feed does not answer yet, one line; "" when it does.
        offline: names of roots that cannot be read; what is known of them is served all the same.
    """

    failure: str = ""
    waiting_for: str = ""
    offline: Sequence[str] = ()
