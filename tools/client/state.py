"""A mirror that is kept in a file: what was applied is there again after any crash.

The file is a journal of pages, one a line, each after the CRC-32 of its JSON. The first line says
how many of the next ones are the mirror as it was when the file was last written anew. Each later
page is appended, so a change costs what it weighs and not what the tree does. A line that is cut
short or damaged ends the file: what it and all after it said is asked for again.
"""

import contextlib
import fcntl
import os
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from tools.client.errors import ProtocolError, StateError
from tools.client.mirror import Mirror
from tools.client.wire import START, Change, Page

VERSION: Final = 1
LINE_CHANGES: Final = 1_000
GROWN_BYTES_MIN: Final = 2**20
"""A file is not written anew before so much was appended, and not before it has doubled."""

_CRC_LENGTH: Final = len(b"%08x " % 0)


class _Head(msgspec.Struct, frozen=True):
    """The first line.

    Attributes:
        nasfeed_state: version of the format.
        pages: how many of the next lines are the mirror.
    """

    nasfeed_state: int
    pages: int


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A page as it is kept: with the keys that are known here, on one line."""

    cursor: int
    changes: list[Change]
    has_more: bool
    log_id: str = ""
    reset: bool = False


class StateFile:
    """A mirror and the file that keeps it; one process at a time has it.

    Args:
        path: made when missing; beside it there will be one more, with `.lock` at its end.

    Attributes:
        mirror: as the file had it, and everything applied since.

    Raises:
        StateError: the file cannot be used; one line.
    """

    def __init__(self, path: Path) -> None:
        self.mirror = Mirror()
        self._path = path
        self._kept = START
        self._base = self._end = 0
        self._file = -1
        self._lock = -1
        with _explained(path):
            self._lock = _locked(path)
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the file and let others have it."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1

    def apply(self, page: Page) -> None:
        """Apply a page and keep it; raises as `Mirror.apply` and `keep` do."""
        self.mirror.apply(page)
        self.keep(page)

    def keep(self, page: Page) -> None:
        """Keep a page that the mirror has just applied; it lasts once all that is there has come.

        Args:
            page: the one applied last. After a failure, the same one may be tried again.

        Raises:
            StateError: it cannot be kept.
        """
        if not page.changes and not page.reset and page.position == self._kept:
            return
        with _explained(self._path):
            line = _line(_Line(page.cursor, page.decoded(), page.has_more, page.log_id, page.reset))
            # At a known place: what a failed attempt left there is written over.
            _write(self._file, line, self._end)
            if not page.has_more:
                os.fdatasync(self._file)
            self._end += len(line)
            self._kept = page.position
            grown = self._end - self._base
            if self.mirror.is_whole and grown > max(GROWN_BYTES_MIN, self._base):
                self._write_anew()

    def _open(self) -> None:
        if not self._path.exists() or not self._path.stat().st_size:
            self._write_anew()
            return
        self._file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        with open(self._file, "rb", closefd=False) as file:
            first = file.readline()
            pages = _pages_of(first)
            self._base = self._end = len(first)
            missing = self._load(file, pages)
        if missing:
            # Not even what it was written with is whole: half a tree is none.
            self.mirror = Mirror()
            self._write_anew()
        else:
            os.ftruncate(self._file, self._end)
            self._kept = self.mirror.position

    def _load(self, file: BinaryIO, pages: int) -> int:
        """Apply what the lines say; returns how many are missing of those that must be there."""
        for line in file:
            page = _page(line)
            if page is None:
                break
            self.mirror.apply(page)
            self._end += len(line)
            if pages:
                pages -= 1
                self._base = self._end
        return pages

    def _write_anew(self) -> None:
        """Replace the file by one that holds the mirror and nothing else."""
        beside = self._path.with_name(f"{self._path.name}.new")
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            end = 0
            for line in _whole(self.mirror):
                _write(file, line, end)
                end += len(line)
            os.fsync(file)
            beside.replace(self._path)
            _sync_directory(self._path.parent)
        except BaseException:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._base, self._end = file, end, end
        self._kept = self.mirror.position


def _whole(mirror: Mirror) -> Iterator[bytes]:
    """Yield the lines of a file that holds a mirror."""
    if not mirror.is_whole:
        yield _line(_Head(VERSION, 0))
        return
    # An empty tree has a page as well: it says so.
    pages = max(1, -(-len(mirror.nodes) // LINE_CHANGES))
    yield _line(_Head(VERSION, pages))
    nodes = iter(mirror.nodes.values())
    cursor, log_id = mirror.position.cursor, mirror.position.log_id
    for left in range(pages - 1, -1, -1):
        changes = [Change(removed=False, node=node) for node in islice(nodes, LINE_CHANGES)]
        yield _line(_Line(cursor, changes, left > 0, log_id))


def _line(value: _Head | _Line) -> bytes:
    text = msgspec.json.encode(value)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _text(line: bytes) -> bytes | None:
    """Return what a line holds, or None if it is not whole."""
    text = line[_CRC_LENGTH:-1]
    whole = line.endswith(b"\n") and line[:_CRC_LENGTH] == b"%08x " % zlib.crc32(text)
    return text if whole else None


def _pages_of(first: bytes) -> int:
    text = _text(first)
    try:
        head = msgspec.json.decode(text or b"", type=_Head)
    except msgspec.MsgspecError as error:
        raise StateError("this is no state of a client; give another file") from error
    if head.nasfeed_state != VERSION:
        raise StateError(f"a newer nasfeed wrote this (format {head.nasfeed_state}); use that one")
    return head.pages


def _page(line: bytes) -> Page | None:
    text = _text(line)
    return None if text is None else msgspec.json.decode(text, type=Page)


def _write(file: int, data: bytes, place: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def _locked(path: Path) -> int:
    """Hold a file beside the path, for the path's own file is replaced now and then."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    lock = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StateError("another program is using it; stop that one, or give another") from error
    return lock


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Name the file in whatever goes wrong with it."""
    try:
        yield
    except StateError as error:
        raise StateError(f"{path}: {error}") from error
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, ProtocolError) as error:
        raise StateError(f"{path}: damaged: {error}; delete it to begin anew") from error
