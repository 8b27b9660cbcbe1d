"""One file of the archive: a stretch of the log, compressed, with checksums.

The format, for whoever reads it without this program:

- the line `nasfeed events 1`, then one line of JSON, see `Header`;
- blocks: four little-endian unsigned integers (bytes that follow, 32 bits; CRC-32 of them, 32
  bits; positions of its first and last event, 64 bits each), then a zlib stream (RFC 1950) of a
  MessagePack array of events, each `[position, node, time_us, record]` as in the table `events`;
- the end: a block of no bytes, whose positions are the number of events and the last position that
  the file covers, and whose checksum is the CRC-32 of the whole file before it and these two.

zlib, because it is in every standard library and will be for as long as anyone keeps an archive.
Records compress to about a fifth with it; zstd would save some processor time and lzma some space,
but each would be one more thing to need for reading.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from eventlog.durable import SYSTEM, Calls, DurableFile
from eventlog.errors import LogError
from eventlog.history import Row

MAGIC: Final = b"nasfeed events 1\n"
SUFFIX: Final = ".events"
BLOCK_ROWS: Final = 1_000
LEVEL: Final = 6

_HEAD = struct.Struct("<IIQQ")
_ENDS = struct.Struct("<QQ")
_HEADER_BYTES_MAX = 4096
_NAME = re.compile(r"(\d{16})-(\d{16})-([0-9a-f]{8})\.events")

_decoder = msgspec.msgpack.Decoder(list[Row])


class ArchiveError(LogError):
    """The archive cannot be read or written."""


class Header(msgspec.Struct, frozen=True):
    """What a segment says of itself.

    Attributes:
        log_id: epoch of its positions.
        id_prefix: of the database, which a restore keeps.
        after: its events are above this position.
        upto: and up to this one.
    """

    log_id: str
    id_prefix: str
    after: int
    upto: int


class Segment(NamedTuple):
    """A file of the archive, as its name describes it.

    Attributes:
        path: where it is.
        after, upto: it covers the positions above the one and up to the other.
        log: the first digits of the log's id.
    """

    path: Path
    after: int
    upto: int
    log: str


def name(header: Header) -> str:
    """Return the name of a segment's file."""
    return f"{header.after:016d}-{header.upto:016d}-{header.log_id[:8]}{SUFFIX}"


def parse(path: Path) -> Segment | None:
    """Return the segment that a file is by its name, or None for any other file."""
    found = _NAME.fullmatch(path.name)
    return Segment(path, int(found[1]), int(found[2]), found[3]) if found else None


def write(directory: Path, header: Header, rows: Iterable[Row], calls: Calls = SYSTEM) -> int:
    """Write a segment; when this returns it is on the disk.

    Args:
        directory: which must exist.
        header: what it says of itself.
        rows: its events, in order of position.
        calls: the operating system.

    Returns:
        How many events it has.

    Raises:
        OSError: it cannot be written; then there is no such file.
    """
    with DurableFile(directory / name(header), calls) as file:
        check, count = 0, 0
        for data, size in _parts(header, rows):
            file.write(data)
            check, count = zlib.crc32(data, check), count + size
        end = _ENDS.pack(count, header.upto)
        file.write(_HEAD.pack(0, zlib.crc32(end, check), count, header.upto))
    return count


def _parts(header: Header, rows: Iterable[Row]) -> Iterator[tuple[bytes, int]]:
    yield MAGIC + msgspec.json.encode(header) + b"\n", 0
    block: list[Row] = []
    for row in rows:
        block.append(row)
        if len(block) == BLOCK_ROWS:
            yield _block(block), len(block)
            block = []
    if block:
        yield _block(block), len(block)


def _block(rows: list[Row]) -> bytes:
    packed = zlib.compress(msgspec.msgpack.encode(rows), LEVEL)
    return _HEAD.pack(len(packed), zlib.crc32(packed), rows[0][0], rows[-1][0]) + packed


def read(path: Path, after: int, upto: int) -> Iterator[Row]:
    """Read events of a segment, in order; one block is in memory at a time.

    No file stays open between two blocks, so any number of segments can be read side by side.

    Args:
        path: the file.
        after: only positions above this one.
        upto: only positions up to this one.

    Raises:
        ArchiveError: the file is missing or damaged.
    """
    place, check = _begin(path)
    while block := _next(path, place, check):
        place, check = block.end, block.check
        if block.last > after and block.first <= upto:
            for row in _unpack(path, block.data):
                if after < row[0] <= upto:
                    yield row


def header(path: Path) -> Header:
    """Read what a segment says of itself.

    Raises:
        ArchiveError: the file is missing or damaged.
    """
    with _opened(path) as file:
        return _header(file, path)


class _Block(NamedTuple):
    data: bytes
    first: int
    last: int
    end: int
    check: int


def _begin(path: Path) -> tuple[int, int]:
    """Return where the first block begins, and the checksum up to there."""
    with _opened(path) as file:
        _header(file, path)
        end = file.tell()
        file.seek(0)
        return end, zlib.crc32(file.read(end))


def _header(file: BinaryIO, path: Path) -> Header:
    if file.readline(_HEADER_BYTES_MAX) != MAGIC:
        raise ArchiveError(f"{path}: this is no archive of events that is known here")
    try:
        return msgspec.json.decode(file.readline(_HEADER_BYTES_MAX), type=Header)
    except msgspec.MsgspecError as error:
        raise _damaged(path, f"its header: {error}") from error


def _next(path: Path, place: int, check: int) -> _Block | None:
    """Read the block at a place; None at the end, when the whole file was right."""
    with _opened(path) as file:
        file.seek(place)
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise _damaged(path, "its end is missing")
        size, own, first, last = _HEAD.unpack(head)
        if not size:
            if own != zlib.crc32(_ENDS.pack(first, last), check):
                raise _damaged(path, "its checksum is wrong")
            return None
        data = file.read(size)
    if len(data) < size or zlib.crc32(data) != own:
        raise _damaged(path, f"the block of positions {first} to {last}")
    return _Block(
        data, first, last, place + len(head) + size, zlib.crc32(data, zlib.crc32(head, check))
    )


def _unpack(path: Path, data: bytes) -> list[Row]:
    try:
        return _decoder.decode(zlib.decompress(data))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise _damaged(path, str(error)) from error


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ArchiveError(
            f"{path}: the archive cannot be read: {os.strerror(error.errno or 0)}"
        ) from error


def _damaged(path: Path, detail: str) -> ArchiveError:
    return ArchiveError(f"{path}: damaged: {detail}; put a copy in its place, or take it away")
