"""Node numbers and the UUIDs that clients see: reversible, without a table.

A public id is a UUID version 8 (RFC 9562, 5.8): 74 random bits that the database got at its birth,
then the node's number in the last 48 bits. The super-root is the all-zero UUID.
"""

import re
import secrets

from eventlog.events import SUPER_ROOT

SUPER_ROOT_ID = "00000000-0000-0000-0000-000000000000"
NUMBER_MAX = 2**48 - 1
_PREFIX = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-")
_NUMBER = re.compile(r"[0-9a-f]{12}")


def new_prefix() -> str:
    """Return a random prefix for the ids of a new database: all of a UUID but its last group."""
    digits = secrets.token_hex(8)
    variant = "89ab"[int(digits[15], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[12:15]}-{variant}{secrets.token_hex(2)[:3]}-"


class NodeIds:
    """Turns numbers into ids and back.

    Args:
        prefix: what `new_prefix` gave at the birth of the database.

    Raises:
        ValueError: the prefix is malformed.
    """

    def __init__(self, prefix: str) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(f"not a node id prefix: {prefix!r}")
        self._prefix = prefix
        self._format = f"{prefix}%012x".__mod__

    def to_id(self, number: int) -> str:
        """Return the id of a node number."""
        return self._format(number) if number else SUPER_ROOT_ID

    def to_number(self, node_id: str) -> int | None:
        """Return the number behind an id, or None for an id that this database never gave."""
        text = node_id.lower()
        if text == SUPER_ROOT_ID:
            return SUPER_ROOT
        prefix, number = text[:24], text[24:]
        if prefix != self._prefix or not _NUMBER.fullmatch(number):
            return None
        return int(number, 16) or None
