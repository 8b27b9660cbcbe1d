"""Reads a snapshot: all of it, or only what was in one directory then."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Self, TypeVar

import msgspec

from eventlog import codec
from eventlog.events import Record, Removed
from eventlog.library import LibraryEvent
from eventlog.replacing import translated_os_errors
from projections.frames import MAGIC, DamagedSnapshotError, FrameReader, SnapshotError
from projections.snapshot import (
    FORMAT,
    FORMAT_LIBRARY,
    HEADER,
    INDEX,
    LIBRARY,
    NODES,
    REMOVED,
    TRAILER,
    Header,
    Place,
    Row,
    Trailer,
)

T = TypeVar("T")

FRAMES_MAX = 8
"""Frames of live nodes kept in memory, a thousand states each."""

FIRST = (b"", 0)
"""What comes before all children of a directory."""


class SnapshotFile:
    """An open snapshot; used by one thread at a time.

    Opening reads header and trailer only. Every frame tells when it is read whether it is damaged;
    `verify` reads them all.

    Args:
        path: the file.

    Attributes:
        header: what it is of.

    Raises:
        SnapshotError: it is damaged, cut off, no snapshot, or of a newer format.
        LogUnavailableError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        with translated_os_errors(path):
            self._frames = FrameReader(path)
        try:
            self.header = self._header()
            self.trailer = self._struct(self._frames.last, TRAILER, Trailer)
        except BaseException:
            self.close()
            raise
        self._kept: dict[int, list[Record]] = {}

    @property
    def path(self) -> Path:
        """The file."""
        return self._frames.path

    @property
    def size(self) -> int:
        """Its bytes."""
        return self._frames.size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._frames.close()

    def nodes(self) -> Iterator[Record]:
        """Read the last events of all live nodes, in order of parent, raw name and number.

        Raises:
            SnapshotError: the file is damaged.
        """
        for frame in self.trailer.node_frames:
            yield from self._records(frame.start, NODES)

    def removed(self) -> Iterator[Record]:
        """Read the tombstones, in order of node number.

        Raises:
            SnapshotError: the file is damaged.
        """
        for start in self.trailer.removed_frames:
            yield from self._records(start, REMOVED)

    def library(self) -> Iterator[Record]:
        """Read the last events of the library's entities, in order of number.

        Raises:
            SnapshotError: the file is damaged.
        """
        for start in self.trailer.library_frames:
            yield from self._records(start, LIBRARY)

    def rows(self) -> Iterator[Row]:
        """Read all that it holds, live and gone, as the log stores it.

        Raises:
            SnapshotError: the file is damaged.
        """
        for frame in self.trailer.node_frames:
            yield from self._decoded(frame.start, NODES, list[Row])
        for start in self.trailer.removed_frames:
            yield from self._decoded(start, REMOVED, list[Row])
        for start in self.trailer.library_frames:
            yield from self._decoded(start, LIBRARY, list[Row])

    def children(
        self, parent: int, after: tuple[bytes, int] = FIRST, limit: int = 2**62
    ) -> list[Record]:
        """Return a page of the nodes that were in a directory, in order of raw name and number.

        Costs a frame of a thousand nodes, and what the page has more.

        Args:
            parent: number of the directory; `SUPER_ROOT` gives the roots.
            after: only what comes after this name and number.
            limit: at most so many.

        Raises:
            SnapshotError: the file is damaged.
        """
        return list(islice(self._children(parent, after), limit))

    def last(self, number: int) -> Record | None:
        """Return the last event of a node that was live, or None. Costs two frames.

        Raises:
            SnapshotError: the file is damaged.
        """
        frames = self.trailer.index_frames
        nth = bisect_right(frames, number, key=lambda frame: frame.first) - 1
        if nth < 0:
            return None
        rows = self._decoded(frames[nth].start, INDEX, list[tuple[int, int]])
        at = bisect_left(rows, (number,))
        if at == len(rows) or rows[at][0] != number:
            return None
        return next((r for r in self._frame(rows[at][1]) if r.node == number), None)

    def prove(self) -> None:
        """Read the whole file and compare its checksum; does not look what it says.

        Raises:
            DamagedSnapshotError: it is damaged.
        """
        if self._frames.digest(self._frames.last) != self.trailer.sha256:
            raise DamagedSnapshotError(self.path, "damaged, its SHA-256 is wrong")

    def verify(self) -> None:
        """Read the whole file and prove that it is what its writer wrote.

        Raises:
            SnapshotError: it is damaged.
        """
        self.prove()
        nodes = sum(not isinstance(record.event, Removed) for record in self.nodes())
        removed = sum(isinstance(record.event, Removed) for record in self.removed())
        entities = sum(isinstance(record.event, LibraryEvent) for record in self.library())
        if entities != self.trailer.entities:
            raise DamagedSnapshotError(
                self.path,
                f"it holds {entities:,} entities of the library instead of"
                f" {self.trailer.entities:,}",
            )
        if not nodes == self.trailer.nodes == self.header.nodes or removed != self.trailer.removed:
            raise DamagedSnapshotError(
                self.path,
                f"it holds {nodes:,} nodes and {removed:,} removals instead of"
                f" {self.header.nodes:,} and {self.trailer.removed:,}",
            )

    def _header(self) -> Header:
        start = len(MAGIC)
        found = self._struct(start, HEADER, Header)
        if found.format not in (FORMAT, FORMAT_LIBRARY):
            raise SnapshotError(
                f"{self.path}: format {found.format} is not known here (this nasfeed knows"
                f" {FORMAT} and {FORMAT_LIBRARY}); use a newer nasfeed"
            )
        return found

    def _children(self, parent: int, after: tuple[bytes, int]) -> Iterator[Record]:
        first: Place = (parent, *after)
        frames = self.trailer.node_frames
        nth = max(0, bisect_right(frames, first, key=lambda frame: frame.first) - 1)
        while nth < len(frames) and frames[nth].first[0] <= parent:
            for record in self._frame(nth):
                place = _place(record)
                if place > first and place[0] == parent:
                    yield record
            nth += 1

    def _frame(self, nth: int) -> list[Record]:
        """Return the records of a frame of live nodes, from memory if it was just read."""
        found = self._kept.pop(nth, None)
        if found is None:
            if not 0 <= nth < len(self.trailer.node_frames):
                raise self._frames.damaged(self._frames.last)
            found = list(self._records(self.trailer.node_frames[nth].start, NODES))
        self._kept[nth] = found
        if len(self._kept) > FRAMES_MAX:
            del self._kept[next(iter(self._kept))]
        return found

    def _records(self, start: int, kind: bytes) -> Iterator[Record]:
        for position, node, time_us, raw in self._decoded(start, kind, list[Row]):
            yield Record(position, node, time_us, codec.decode_any(raw, position))

    def _struct(self, start: int, kind: bytes, of: type[T]) -> T:
        return self._decoded(start, kind, of, pack=False)

    def _decoded(self, start: int, kind: bytes, of: type[T], *, pack: bool = True) -> T:
        frame = self._frames.read(start, pack=pack)
        try:
            if frame.kind != kind:
                raise self._frames.damaged(start)
            return msgspec.msgpack.decode(frame.payload, type=of)
        except msgspec.MsgspecError as error:
            raise self._frames.damaged(start) from error


def _place(record: Record) -> Place:
    event = record.event
    if isinstance(event, Removed | LibraryEvent):
        raise SnapshotError(f"position {record.position}: no live node among those of a snapshot")
    return event.state.parent, event.state.name, record.node
