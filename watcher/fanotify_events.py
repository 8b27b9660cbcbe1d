"""Events of fanotify(7) as the kernel writes them. Pure: bytes in, places out.

Each event is a `struct fanotify_event_metadata` and some records, in any order and of types that
a later kernel may add to. Events of one name are merged in the queue, so they tell of a place that
it must be looked at, and never in which order things happened.
"""

import struct
from typing import Final

from watcher import fanotify_kernel as kernel
from watcher.backend import NOTHING, Sign

VERSION: Final = 3
"""Of the layout of events, FANOTIFY_METADATA_VERSION, since Linux 2.6.37."""

_EVENT = struct.Struct("=IBBHQii")
"""event_len, vers, reserved, metadata_len, mask, fd, pid."""

_RECORD_LENGTH = struct.Struct("=H")
_HANDLE_BYTES = struct.Struct("=I")
# A record: type u8, pad u8, length u16; fsid u64; then handle_bytes u32, handle_type s32, handle,
# and a name that ends with a zero byte.
_LENGTH_AT, _KEY_AT, _BYTES_AT, _HANDLE_AT = 2, 4, 12, 20

# Types of records.
_FID = 1
_DFID_NAME = 2
_DFID = 3
_OLD_DFID_NAME = 10
_NEW_DFID_NAME = 12

_SIGN_OF_BIT = {
    kernel.CREATE: Sign.CREATED,
    kernel.MODIFY: Sign.WRITING,
    kernel.CLOSE_WRITE: Sign.WRITTEN,
    kernel.ATTRIB: Sign.ATTRIBUTES,
    kernel.DELETE: Sign.DELETED,
    kernel.MOVED_FROM: Sign.MOVED_FROM,
    kernel.MOVED_TO: Sign.MOVED_TO,
    kernel.DELETE_SELF: Sign.SELF,
    kernel.MOVE_SELF: Sign.SELF,
}

_GOES = kernel.DELETE | kernel.RENAME | kernel.MOVED_FROM | kernel.MOVED_TO
"""After these the directory that is the target of the event is not where it was."""


def _sign(kind: int, mask: int) -> int:
    """Return what a record means; bits that this program does not know still mean *look*."""
    if kind == _OLD_DFID_NAME:
        return Sign.MOVED_FROM
    if kind == _NEW_DFID_NAME:
        return Sign.MOVED_TO
    if kind == _FID:
        return Sign.SELF if mask & kernel.ONDIR and mask & _GOES else NOTHING
    signs: Sign = NOTHING
    for bit, sign in _SIGN_OF_BIT.items():
        if mask & bit:
            signs |= sign
    return signs or Sign.ATTRIBUTES


_KINDS = frozenset({_FID, _DFID_NAME, _DFID, _OLD_DFID_NAME, _NEW_DFID_NAME})


class Places:
    """The table of places, and the directories that it is about.

    Attributes:
        numbers: the number of each directory that is watched, by filesystem and handle, in the
            bytes of a record.
        others: further numbers of such a directory, which is at several places in the tree, as by
            a bind mount.
        pending: signs of names in directories.
        strangers: the same for directories that are not watched, by filesystem and handle; None
            while nobody wants to know.
        strange: how many places that are.
    """

    def __init__(self) -> None:
        self.numbers: dict[bytes, int] = {}
        self.others: dict[bytes, list[int]] = {}
        self.pending: dict[tuple[int, bytes], int] = {}
        self.strangers: dict[bytes, dict[bytes, int]] | None = None
        self.strange = 0
        # Only some of the combinations come. Nothing is cheaper than to look them up.
        self._signs: dict[int, int] = {}

    def fold(self, data: bytes) -> bool:
        """Take what one read has returned.

        Args:
            data: whole events; those of directories that are not watched are dropped.

        Returns:
            Whether events were lost.

        Raises:
            ValueError: the kernel writes a layout that is not known here.
        """
        unpack, lost, after, size = _EVENT.unpack_from, False, 0, len(data)
        while after < size:
            length, version, _, start, mask, _, _ = unpack(data, after)
            if version != VERSION:
                raise ValueError(f"fanotify: events have layout {version}, not {VERSION}")
            if mask & kernel.Q_OVERFLOW:
                lost = True
            self._fold_records(data, after + start, after + length, mask)
            after += length
        return lost

    def _fold_records(self, data: bytes, at: int, end: int, mask: int) -> None:
        """Take the records of one event: the hot loop."""
        while at < end:
            here, kind = at, data[at]
            at += _RECORD_LENGTH.unpack_from(data, here + _LENGTH_AT)[0]
            if kind not in _KINDS:
                continue
            name_at = here + _HANDLE_AT + _HANDLE_BYTES.unpack_from(data, here + _BYTES_AT)[0]
            key = data[here + _KEY_AT : name_at]
            number = self.numbers.get(key)
            if number is None and self.strangers is None:
                continue
            sign = self._signs.get(mask << 8 | kind)
            if sign is None:
                sign = self._signs[mask << 8 | kind] = int(_sign(kind, mask))
            if sign:
                name = data[name_at:at].rstrip(b"\0") if kind != _FID else b""
                self.note(key, number, b"" if name == b"." else name, sign)

    def recognize(self, key: bytes, number: int) -> None:
        """Give what happened in a directory before it was watched its number."""
        names = (self.strangers or {}).pop(key, {})
        self.strange -= len(names)
        for name, sign in names.items():
            self.note(key, number, name, sign)

    def heed_strangers(self, *, heed: bool) -> None:
        """Keep from now on what happens in directories that are not watched, or no longer."""
        self.strangers = {} if heed else None
        self.strange = 0

    def note(self, key: bytes, number: int | None, name: bytes, sign: int) -> None:
        """Add signs to a name in a directory, under all numbers that the directory has."""
        if number is None:
            self._note_strange(key, name, sign)
            return
        place = (number, name)
        self.pending[place] = self.pending.get(place, 0) | sign
        for other in self.others.get(key, ()):
            place = (other, name)
            self.pending[place] = self.pending.get(place, 0) | sign

    def _note_strange(self, key: bytes, name: bytes, sign: int) -> None:
        if self.strangers is not None:
            names = self.strangers.setdefault(key, {})
            self.strange += name not in names
            names[name] = names.get(name, 0) | sign
