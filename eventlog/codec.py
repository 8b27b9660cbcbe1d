"""Events to stored bytes and back: the only encoder and decoder of records."""

import msgspec

from eventlog.errors import CorruptRecordError
from eventlog.events import Event

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)

encode = _encoder.encode
"""Encode an event as MessagePack (https://msgpack.org), a tagged array."""

decode_unchecked = _decoder.decode
"""Decode without translating errors: for hot loops over records that the log itself wrote."""


def decode(record: bytes, position: int) -> Event:
    """Decode a stored record.

    Args:
        record: the stored bytes.
        position: where they were stored, for the error.

    Returns:
        The event.

    Raises:
        CorruptRecordError: the bytes are no event of this format.
    """
    try:
        return _decoder.decode(record)
    except (msgspec.MsgspecError, TypeError) as error:  # in a damaged file it may be no blob
        raise CorruptRecordError(position, str(error)) from error
