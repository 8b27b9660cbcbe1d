"""The archive: all events of the log, kept in files before compaction drops any.

It is a copy of the log up to a position, not only of what was dropped: so each file covers a
stretch of positions of its own, a reader goes through them one after the other, and what is both
here and in the log is known by its position. A file is durable before the transaction that drops
commits; a crash in between leaves events in both places, never in none.
"""

import os
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

import apsw

from eventlog import history, segment
from eventlog.connection import fetch
from eventlog.durable import PARTIAL, SYSTEM, Calls
from eventlog.segment import SUFFIX, ArchiveError, Header, Segment

ARCHIVED: Final = "archived"
ARCHIVE_PATH: Final = "archive_path"
"""Facts in `meta`: up to which position was archived, and where."""

RESTORED: Final = "restored"
"""Fact in `meta` of a log that was restored from a backup: up to this position it has the same
events as the logs before it, whose files may be in the archive too."""

SEGMENT_EVENTS: Final = 250_000
"""Events of one file, at most."""

END = (
    "select position from events where position > ? and position <= ? order by position"
    " limit 1 offset ?"
)
META = "select key, value from meta"


class Archive:
    """The files of one log in a directory.

    Args:
        directory: absolute path; made when its parent exists.
        calls: the operating system.
    """

    def __init__(self, directory: str, calls: Calls = SYSTEM) -> None:
        self.path = directory
        self._directory = Path(directory)
        self._calls = calls

    def extend(self, connection: apsw.Connection, upto: int) -> tuple[int, int]:
        """Write the next file, unless all is archived already.

        Args:
            connection: a reader's.
            upto: archive up to here, or as far as one file goes.

        Returns:
            Up to which position everything is in the archive now, and how many events were
            written.

        Raises:
            ArchiveError: it cannot be written, or what was archived before is not there.
        """
        facts = dict(fetch(connection, META))
        try:
            after = self._covered(facts)
            self._prepare(facts["log_id"])
            if after >= upto:
                return after, 0
            return self._write(connection, facts, after, upto)
        except OSError as error:
            raise ArchiveError(
                f"{self.path}: cannot archive: {error.strerror}; nothing is dropped until it works"
            ) from error

    def check(self, connection: apsw.Connection) -> None:
        """Say now what would keep the next file from being written.

        Args:
            connection: a reader's.

        Raises:
            ArchiveError: the directory cannot be used, or what was archived before is not there.
        """
        self._covered(dict(fetch(connection, META)))
        target = self._directory if self._directory.exists() else self._directory.parent
        if not target.is_dir():
            problem = f"{target} is no directory" if target.exists() else f"there is no {target}"
        elif not os.access(target, os.W_OK | os.X_OK):
            problem = f"{target} cannot be written"
        else:
            return
        raise ArchiveError(
            f"{self.path}: cannot archive: {problem}; mount its disk or change `archive` in the"
            " configuration; nothing is dropped until it works"
        )

    def segments(self, connection: apsw.Connection, after: int, upto: int) -> list[Segment]:
        """Return the files that hold events of this log between two positions, in order.

        Raises:
            ArchiveError: the directory or a file cannot be read.
        """
        facts = dict(fetch(connection, META))
        found = (self._limited(file, facts) for file in self._files(facts))
        return sorted(
            (file for file in found if file.upto > after and file.after < upto),
            key=lambda file: file.after,
        )

    def missing(self, connection: apsw.Connection, after: int, upto: int) -> list[tuple[int, int]]:
        """Return the stretches between two positions whose files were written and are gone.

        The files of one log follow each other without gaps, from its first position on.

        Args:
            connection: a reader's.
            after: only positions above this one.
            upto: only positions up to this one.

        Returns:
            The first and the last position of each stretch. What is left in the log, or is in the
            files of the same log after a restore, is known all the same.

        Raises:
            ArchiveError: the directory or a file cannot be read.
        """
        found: list[tuple[int, int]] = []
        # A file of before a restore may hold nothing that this log shares with that one.
        files = [file for file in self.segments(connection, 0, 2**63) if file.after < file.upto]
        files.sort(key=attrgetter("log", "after"))
        for _, own in groupby(files, key=attrgetter("log")):
            reached = after
            for file in own:
                if reached < min(file.after, upto):
                    found.append((reached + 1, min(file.after, upto)))
                reached = max(reached, file.upto)
        return sorted(found)

    def _write(
        self, connection: apsw.Connection, facts: dict[str, str], after: int, upto: int
    ) -> tuple[int, int]:
        last = fetch(connection, END, (after, upto, SEGMENT_EVENTS - 1))
        end: int = last[0][0] if last else upto
        header = Header(facts["log_id"], facts["id_prefix"], after, end)
        written = segment.write(
            self._directory, header, history.rows(connection, after, end), self._calls
        )
        return end, written

    def _prepare(self, log_id: str) -> None:
        """Make the directory, but not its parents: a disk that is not mounted is no place.

        A process that was killed may have left a file whose name is not on the disk yet. What it
        covers is dropped only after this sync.
        """
        if not self._directory.exists():
            self._directory.mkdir()
            self._calls.sync_directory(self._directory.parent)
        self._calls.sync_directory(self._directory)
        for path in self._directory.glob(f".*-{log_id[:8]}{SUFFIX}{PARTIAL}"):
            self._calls.remove(path)

    def _covered(self, facts: dict[str, str]) -> int:
        own = [f.upto for f in self._files(facts) if f.log == facts["log_id"][:8]]
        return max(own, default=0)

    def _files(self, facts: dict[str, str]) -> list[Segment]:
        try:
            paths = list(self._directory.iterdir()) if self._directory.exists() else []
            files = [file for path in paths if (file := segment.parse(path)) is not None]
        except OSError as error:
            raise ArchiveError(
                f"{self.path}: the archive cannot be read: {error.strerror}"
            ) from error
        expected = int(facts.get(ARCHIVED, "0")) if facts.get(ARCHIVE_PATH) == self.path else 0
        if max((file.upto for file in files), default=0) < expected:
            raise ArchiveError(
                f"{self.path}: events up to position {expected} were archived here, and are not"
                " there; mount its disk, or say with --archive DIR where they are now"
            )
        return files

    @staticmethod
    def _limited(file: Segment, facts: dict[str, str]) -> Segment:
        """Return what of a file belongs to this log: of a log before a restore, only its begin."""
        if file.log == facts["log_id"][:8]:
            return file
        is_before = segment.header(file.path).id_prefix == facts["id_prefix"]
        shared = int(facts.get(RESTORED, "0")) if is_before else 0
        return file._replace(upto=min(file.upto, shared))
