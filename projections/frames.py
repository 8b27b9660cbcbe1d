r"""How a snapshot lies in its file: frames that each tell when they are damaged.

    file   = magic frame... footer
    magic  = "nasfsnp1"
    frame  = kind (1 byte) length (4 bytes) checksum (4 bytes) payload (length bytes)
    footer = where the last frame begins (8 bytes) "nasfend\n"

Numbers are big-endian. The checksum is the CRC-32 of zlib over kind, length and payload. The last
frame says of all bytes before it what their SHA-256 is. A payload is MessagePack, compressed with
zlib in all frames but the first and the last.

zlib and not Zstandard: it is in every Python and every language, so the file can be read in twenty
years with nothing installed. At its fastest level it takes about as long as reading the database.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from eventlog.errors import LogError

MAGIC = b"nasfsnp1"
END = b"nasfend\n"
LEVEL = 1
"""Of zlib: higher ones take up to eight times as long and save nothing, because hashes and times,
which are most of what is left, do not shrink."""

_HEAD = struct.Struct(">cII")
_FOOTER = struct.Struct(">Q8s")
_UNPACKED_MAX = 2**26
"""Bytes of a frame unpacked; a thousand states of the longest names and links are 9 MiB."""


class SnapshotError(LogError):
    """A snapshot is damaged, cut off, of an unknown format, or of another log."""


class DamagedSnapshotError(SnapshotError):
    """A snapshot that opened has turned out to be damaged within.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}; use another snapshot")
        self.path = path


class Frame(NamedTuple):
    """A frame as read.

    Attributes:
        kind: one byte.
        payload: as it was put.
        end: where the next one begins.
    """

    kind: bytes
    payload: bytes
    end: int


class FrameWriter:
    """Writes the frames of one file.

    Args:
        write: takes bytes.
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._hash = hashlib.sha256()
        self.size = 0
        self._put(MAGIC)

    def put(self, kind: bytes, payload: bytes, *, pack: bool = True) -> int:
        """Write a frame.

        Args:
            kind: one byte.
            payload: what it holds.
            pack: whether to compress it.

        Returns:
            Where it begins.
        """
        start = self.size
        stored = zlib.compress(payload, LEVEL) if pack else payload
        self._put(_head(kind, stored) + stored)
        return start

    def digest(self) -> bytes:
        """Return the SHA-256 of all that was written so far."""
        return self._hash.digest()

    def finish(self, kind: bytes, payload: bytes) -> None:
        """Write the last frame and the footer."""
        start = self.put(kind, payload, pack=False)
        self._put(_FOOTER.pack(start, END))

    def _put(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        self._write(data)


class FrameReader:
    """Reads the frames of one file, in any order.

    Args:
        path: the file.

    Raises:
        SnapshotError: it is no snapshot, or cut off.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = os.fstat(self._fd).st_size
            self.last = self._find_last()
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def read(self, start: int, *, pack: bool = True) -> Frame:
        """Read the frame that begins at a place.

        Args:
            start: bytes from the begin of the file.
            pack: whether it is compressed.

        Raises:
            SnapshotError: it is damaged.
        """
        head = os.pread(self._fd, _HEAD.size, start)
        if len(head) < _HEAD.size:
            raise self.damaged(start)
        kind, length, checksum = _HEAD.unpack(head)
        end = start + _HEAD.size + length
        stored = os.pread(self._fd, length, start + _HEAD.size) if end <= self.size else b""
        if len(stored) != length or _checksum(kind, stored) != checksum:
            raise self.damaged(start)
        return Frame(kind, self._unpacked(stored, start) if pack else stored, end)

    def digest(self, end: int) -> bytes:
        """Return the SHA-256 of all bytes before a place."""
        found, start = hashlib.sha256(), 0
        while part := os.pread(self._fd, min(2**20, end - start), start):
            found.update(part)
            start += len(part)
        return found.digest()

    def damaged(self, start: int) -> DamagedSnapshotError:
        """Return the error for damage at a place."""
        return DamagedSnapshotError(self.path, f"damaged at byte {start:,}")

    def _find_last(self) -> int:
        if os.pread(self._fd, len(MAGIC), 0) != MAGIC:
            raise SnapshotError(f"{self.path}: this is no snapshot of nasfeed")
        footer = os.pread(self._fd, _FOOTER.size, max(0, self.size - _FOOTER.size))
        start, end = _FOOTER.unpack(footer) if len(footer) == _FOOTER.size else (0, b"")
        if end != END or start >= self.size:
            raise SnapshotError(f"{self.path}: cut off, it has no end; use another snapshot")
        return int(start)

    def _unpacked(self, stored: bytes, start: int) -> bytes:
        """Unpack, but no more than a frame can hold: a few bytes could stand for gigabytes."""
        try:
            unpacking = zlib.decompressobj()
            payload = unpacking.decompress(stored, _UNPACKED_MAX)
        except zlib.error as error:
            raise self.damaged(start) from error
        if not unpacking.eof:
            raise self.damaged(start)
        return payload


def _head(kind: bytes, stored: bytes) -> bytes:
    return _HEAD.pack(kind, len(stored), _checksum(kind, stored))


def _checksum(kind: bytes, stored: bytes) -> int:
    return zlib.crc32(stored, zlib.crc32(kind + len(stored).to_bytes(4, "big")))
