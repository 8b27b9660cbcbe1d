"""Frames between the pool and a worker: a length of four bytes, then MessagePack."""

import struct
from collections.abc import Iterator
from enum import IntEnum

import msgspec

from watcher.metadata.task import Outcome, Task

_LENGTH = struct.Struct("<I")
FRAME_BYTES_MAX = 64 << 20
"""No honest frame comes near this; a longer one is noise from a broken worker."""


class Stage(IntEnum):
    """What a worker is doing, from harmless to dangerous."""

    IDLE = 0
    READING = 1
    TYPE = 2
    MEDIA = 3


class Work(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A task with what earlier attempts taught.

    Attributes:
        task: what to do.
        last_stage: stages beyond this one are left out.
        problem: why, one line.
        deaths: how many workers died on it.
    """

    task: Task
    last_stage: Stage = Stage.MEDIA
    problem: str = ""
    deaths: int = 0


encode_outcomes = encode_works = msgspec.msgpack.Encoder().encode
decode_outcomes = msgspec.msgpack.Decoder(list[Outcome]).decode
decode_works = msgspec.msgpack.Decoder(list[Work]).decode


def frame(body: bytes) -> bytes:
    """Return a body as it travels."""
    return _LENGTH.pack(len(body)) + body


def take_frames(received: bytearray) -> Iterator[bytes]:
    """Cut the complete frames off the front of what was received.

    Args:
        received: everything not yet taken; shortened in place.

    Yields:
        Their bodies.

    Raises:
        ValueError: the length of a frame cannot be true.
    """
    while len(received) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(received)
        if length > FRAME_BYTES_MAX:
            raise ValueError(f"frame of {length} bytes")
        end = _LENGTH.size + length
        if len(received) < end:
            return
        body = bytes(received[_LENGTH.size : end])
        del received[:end]
        yield body
