"""The directory of a log's snapshots: which there are, which can be used, which may go."""

import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from eventlog import history
from eventlog.connection import fetch, translated_errors
from eventlog.durable import SYSTEM, Calls
from eventlog.epochs import GAPS, Gap, is_lost, parse_gaps
from eventlog.errors import LogError
from eventlog.replacing import translated_os_errors
from projections import snapshot
from projections.snapshot import Header
from projections.snapshot_file import SnapshotFile

SUFFIX = ".snapshot"
DAY_US = 86_400_000_000


class Line(NamedTuple):
    """Which history of the world a log tells: what a snapshot must fit in.

    Attributes:
        id_prefix: of its public ids, the same after every restore.
        head: its last position.
        floor: below it nothing is left.
        gaps: positions that are of replaced logs.
    """

    id_prefix: str
    head: int
    floor: int
    gaps: tuple[Gap, ...]

    def has(self, header: Header) -> bool:
        """Return whether a snapshot shows this log at some time.

        It may be of an earlier epoch: up to the restore that ended it the history is the same. But
        not when a squash came before it that the log does not know of, because it was restored
        from before that: then the snapshot lacks tombstones that the log has.
        """
        return (
            header.id_prefix == self.id_prefix
            and header.position <= self.head
            and int(header.meta.get("floor", "0")) <= self.floor
            and not is_lost(header.position, self.gaps)
        )


class Listed(NamedTuple):
    """A file of the directory.

    Attributes:
        path: where it is.
        size: bytes.
        header: what it is of; None when it cannot be used.
        problem: why not; else "".
    """

    path: Path
    size: int
    header: Header | None
    problem: str = ""


class Retention(NamedTuple):
    """Which snapshots stay.

    Attributes:
        keep: at most so many.
        keep_days: none that is older, except the newest.
    """

    keep: int
    keep_days: float


class SnapshotStore:
    """The snapshots in one directory.

    Args:
        directory: made when the first snapshot is, or by `prepare`.
        calls: the operating system.
    """

    def __init__(self, directory: Path, calls: Calls = SYSTEM) -> None:
        self.directory = directory
        self._calls = calls
        self._distrusted: dict[Path, tuple[int, int]] = {}

    def files(self) -> list[Listed]:
        """Return all snapshots, the newest first; those that cannot be used are the last.

        Only the beginning and the end of each file are looked at; damage between them is told of
        a file once it was met there.

        Raises:
            LogUnavailableError: the directory cannot be read.
        """
        found = [self._listed(path) for path in self._paths()]
        return sorted(found, key=lambda listed: _age(listed.header), reverse=True)

    def distrust(self, path: Path) -> None:
        """Count a file as damaged from now on, until another one has its name.

        Args:
            path: where damage was met.
        """
        self._distrusted[path] = _file(path)

    def prepare(self) -> None:
        """Make the directory.

        Raises:
            LogUnavailableError: it cannot be made.
        """
        with translated_os_errors(self.directory):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._calls.sync_directory(self.directory.parent)

    def take(
        self, connection: apsw.Connection, time_us: int, stop: threading.Event | None = None
    ) -> tuple[Listed, bool]:
        """Write a snapshot, unless nothing was appended since the newest.

        Args:
            connection: a reader's.
            time_us: now, microseconds since 1970 UTC.
            stop: set to have it end soon.

        Returns:
            The newest snapshot, and whether it is new.

        Raises:
            LogError: it could not be written.
        """
        log = line(connection)
        newest = self.newest(log)
        if newest and newest.header and newest.header.position == log.head:
            return newest, False
        self.prepare()
        path = self.directory / _name(log, time_us)
        header = snapshot.write(
            connection,
            path,
            time_us,
            stop=stop,
            part=self.directory / ".part",
            calls=self._calls,
        )
        with translated_os_errors(path):
            return Listed(path, path.stat().st_size, header), True

    def prune(self, log: Line, retention: Retention, now_us: int) -> list[Path]:
        """Remove snapshots of a log that are too many or too old; the newest always stays.

        Of too many, not the oldest go: the others shall reach as far back as before, and lie the
        further apart the older they are.

        Args:
            log: whose. Others in the directory are left alone, as is what cannot be read.
            retention: what stays.
            now_us: microseconds since 1970 UTC.

        Returns:
            What was removed.

        Raises:
            LogUnavailableError: one could not be removed.
        """
        oldest_us = now_us - round(retention.keep_days * DAY_US)
        own = [
            (listed.path, listed.header.time_us)
            for listed in self.files()
            if listed.header and listed.header.id_prefix == log.id_prefix
        ]
        kept = [one for nth, one in enumerate(own) if not nth or one[1] >= oldest_us]
        while len(kept) > max(retention.keep, 1):
            del kept[_least_missed([time_us for _, time_us in kept])]
        gone = [path for path, time_us in own if (path, time_us) not in kept]
        for path in gone:
            with translated_os_errors(path):
                self._calls.remove(path)
        return gone

    def newest(self, log: Line, upto: int | None = None) -> Listed | None:
        """Return the newest snapshot of a log that opens, or None.

        Args:
            log: whose.
            upto: only as of this position or before.
        """
        return next(iter(self.usable(log, upto)), None)

    def open(self, log: Line, upto: int | None = None) -> SnapshotFile | None:
        """Open the newest snapshot of a log that is whole, or return None.

        Args:
            log: whose.
            upto: only as of this position or before.
        """
        for listed in self.usable(log, upto):
            try:
                file = SnapshotFile(listed.path)
            except LogError:
                continue  # it went, or was damaged, since it was listed
            return file
        return None

    def usable(self, log: Line, upto: int | None = None) -> Iterator[Listed]:
        """Yield the snapshots of a log that open, the newest first.

        Args:
            log: whose.
            upto: only as of this position or before.
        """
        for listed in self.files():
            header = listed.header
            if header and log.has(header) and (upto is None or header.position <= upto):
                yield listed

    def _listed(self, path: Path) -> Listed:
        if path in self._distrusted and self._distrusted[path] == _file(path):
            return Listed(path, 0, None, f"{path}: damaged within; use another snapshot")
        try:
            with SnapshotFile(path) as file:
                return Listed(path, file.size, file.header)
        except LogError as error:
            return Listed(path, 0, None, str(error))

    def _paths(self) -> Sequence[Path]:
        with translated_os_errors(self.directory):
            if not self.directory.exists():
                return ()
            return [p for p in self.directory.iterdir() if p.suffix == SUFFIX]


def line(connection: apsw.Connection) -> Line:
    """Return which history a log tells.

    Args:
        connection: a reader's.

    Raises:
        LogError: the database cannot be read.
    """
    with translated_errors(connection.filename), connection:
        meta = dict(fetch(connection, snapshot.META))
        head = history.head(connection)
    gaps = parse_gaps(meta.get(GAPS, ""))
    return Line(meta["id_prefix"], head, int(meta["floor"]), gaps)


def _file(path: Path) -> tuple[int, int]:
    """Return what tells a file from the next one of its name; zeros when there is none."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _least_missed(times: Sequence[int]) -> int:
    """Choose the snapshot that leaves the smallest gap for its age.

    Args:
        times: when they were taken, the newest first; two at least.

    Returns:
        Which; never the newest, and the oldest only of two.
    """

    def gap_for_age(nth: int) -> tuple[float, int]:
        return (times[nth - 1] - times[nth + 1]) / max(1, times[0] - times[nth]), -nth

    return min(range(1, len(times) - 1), key=gap_for_age, default=1)


def _age(header: Header | None) -> tuple[int, int]:
    return (header.position, header.time_us) if header else (-1, 0)


def _name(log: Line, time_us: int) -> str:
    """Return a name that sorts by time and is unique among the logs of a directory."""
    moment = dt.datetime.fromtimestamp(time_us // 1_000_000, dt.UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{log.id_prefix[:8]}-{log.head}{SUFFIX}"
