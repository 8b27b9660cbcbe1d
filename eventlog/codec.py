"""Events to stored bytes and back: the only encoder and decoder of records."""

from collections.abc import Iterable

import msgspec

from eventlog.errors import CorruptRecordError
from eventlog.events import DISK, AnyEvent, Created, Event, State

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
_decoder_of_any: msgspec.msgpack.Decoder[AnyEvent] = msgspec.msgpack.Decoder(AnyEvent)

_NODE_TAGS = range(1, 6)
_MOVED_TAG = 3

encode = _encoder.encode
"""Encode an event as MessagePack (https://msgpack.org), a tagged array."""

decode_unchecked = _decoder.decode
"""Decode without translating errors: for hot loops over records that the log itself wrote."""


_STATE_AT = 6
"""Where the fields of a state begin that nobody's face wrote: after the event's array, its tag, an
empty author and the state's array, whose length takes two bytes."""

_BY_NOBODY = b"\xa0\xdc"
"""That empty author, and that array."""


def stored_fields(fields: tuple[object, ...]) -> bytes:
    """Return how the first fields of a state are stored.

    Args:
        fields: at most 15.
    """
    return _encoder.encode(fields)[1:]


_CREATED = _encoder.encode(Created(DISK, State(0, b"", 0, 0, 0, 0, 0, 0, 0, 0, 0)))[:_STATE_AT]
_STATE_BEGINS = 4
"""Bytes of a state before its second field when the first is 0: its array, and that field."""


def stored_rest(fields: tuple[object, ...]) -> bytes:
    """Return how all fields of a state but its parent are stored.

    Args:
        fields: all, as a tuple; the parent 0.
    """
    return _encoder.encode(fields)[_STATE_BEGINS:]


def created(parent: int, rests: Iterable[bytes]) -> list[bytes]:
    """Return the records of new nodes in a directory, which nobody's face made.

    Args:
        parent: its number.
        rests: of each, as `stored_rest` gives it.
    """
    beginning = _CREATED + _encoder.encode(parent)
    return [beginning + rest for rest in rests]


def begins_with(record: bytes, stored: bytes) -> bool:
    """Say whether a record of a live node certainly has a state that begins with some fields.

    Args:
        record: the record.
        stored: the fields, as `stored_fields` gives them.

    Returns:
        False also where it cannot be seen without decoding the record.
    """
    return record.startswith(stored, _STATE_AT) and record.startswith(_BY_NOBODY, 2)


def is_of_node(record: bytes) -> bool:
    """Say whether a record is of a node: its tag, the first thing in the array, says so."""
    return len(record) > 1 and record[1] in _NODE_TAGS


def is_move(record: bytes) -> bool:
    """Say whether a record is of a node that got another place."""
    return len(record) > 1 and record[1] == _MOVED_TAG


def decode(record: bytes, position: int) -> Event:
    """Decode a stored record of a node.

    Args:
        record: the stored bytes.
        position: where they were stored, for the error.

    Returns:
        The event.

    Raises:
        CorruptRecordError: the bytes are no event of a node in this format.
    """
    try:
        return _decoder.decode(record)
    except (msgspec.MsgspecError, TypeError) as error:  # in a damaged file it may be no blob
        raise CorruptRecordError(position, str(error)) from error


def decode_any(record: bytes, position: int) -> AnyEvent:
    """Decode a stored record of whatever it is about; otherwise as `decode`.

    Raises:
        CorruptRecordError: the bytes are no event of this format.
    """
    try:
        return _decoder_of_any.decode(record)
    except (msgspec.MsgspecError, TypeError) as error:
        raise CorruptRecordError(position, str(error)) from error
