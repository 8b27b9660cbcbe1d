"""Records of the log to the JSON of the feed: the hot loop of a drain.

There are no dicts here and no call that can be looked up instead: what repeats from row to row
(seconds, MIME types, parents) is remembered, in maps that are emptied when they grow.
"""

import base64
import datetime as dt
import stat
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from api.wire import Change, Changes, Kind, Node, Removal, Update
from eventlog.codec import decode_unchecked
from eventlog.events import SUPER_ROOT, Removed
from eventlog.identifiers import SUPER_ROOT_ID, NodeIds
from projections.filter import LEFT

REMEMBERED_MAX = 20_000
"""Entries of a map before it is emptied; some 100 bytes each."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND_MIN = -62_135_596_800  # 0001-01-01T00:00:00, the first that isoformat can say
_SECOND_MAX = 253_402_300_799  # 9999-12-31T23:59:59, the last

to_json: Final = msgspec.json.Encoder().encode
"""The one encoder of answers."""

to_lines: Final = msgspec.json.Encoder().encode_lines
"""Encodes a list as lines of JSON, each with its end."""


class _Form(NamedTuple):
    kind: Kind
    is_directory: bool
    mime: str


_FILE = _Form("file", is_directory=False, mime="")
_FORMS = {
    stat.S_IFREG: _FILE,
    stat.S_IFDIR: _Form("directory", is_directory=True, mime=""),
    stat.S_IFLNK: _Form("symlink", is_directory=False, mime="inode/symlink"),
    stat.S_IFIFO: _Form("fifo", is_directory=False, mime="inode/fifo"),
    stat.S_IFSOCK: _Form("socket", is_directory=False, mime="inode/socket"),
    stat.S_IFCHR: _Form("char_device", is_directory=False, mime="inode/chardevice"),
    stat.S_IFBLK: _Form("block_device", is_directory=False, mime="inode/blockdevice"),
}
_TYPE_BITS = 0o170000


class _Seconds(dict[int, str]):
    """Seconds since 1970 to ISO 8601 without a zone; years before 1 and after 9999 are clamped."""

    def __missing__(self, second: int) -> str:
        clamped = min(max(second, _SECOND_MIN), _SECOND_MAX)
        moment = _EPOCH + dt.timedelta(seconds=clamped)
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        text = self[second] = moment.isoformat()[:19]
        return text


class _Media(dict[str, tuple[bool, bool]]):
    """MIME type to whether it is an image and whether it is a video."""

    def __missing__(self, mime: str) -> tuple[bool, bool]:
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        found = self[mime] = (mime.startswith("image/"), mime.startswith("video/"))
        return found


class _Parents(dict[int, str]):
    """Numbers of directories to ids, for one page, whose rows share their parents."""

    def __init__(self, to_id: Callable[[int], str]) -> None:
        super().__init__({SUPER_ROOT: SUPER_ROOT_ID})
        self._to_id = to_id

    def __missing__(self, number: int) -> str:
        found = self[number] = self._to_id(number)
        return found


# Shared by all threads: each operation on them is one bytecode, and a lost entry is made again.
_seconds = _Seconds()
_media = _Media()

# Six digits as two looked-up halves: twice as fast as formatting them.
_MILLISECONDS = tuple(f".{n:03d}" for n in range(1000))
_MICROSECONDS = tuple(f"{n:03d}+00:00" for n in range(1000))

# Likewise of an id: the last three of its twelve hexadecimal digits.
_ID_ENDS = tuple(f"{n:03x}" for n in range(4096))


def iso_time(ns: int) -> str:
    """Return a time as `datetime.isoformat` gives it, cut (not rounded) to microseconds.

    Args:
        ns: nanoseconds since 1970 UTC; any integer.
    """
    microseconds = ns // 1000
    second = _seconds[microseconds // 1_000_000]
    if part := microseconds % 1_000_000:
        return f"{second}{_MILLISECONDS[part // 1000]}{_MICROSECONDS[part % 1000]}"
    return f"{second}+00:00"


SUPER_ROOT_FIELDS: Final[Mapping[str, Any]] = {
    "id": SUPER_ROOT_ID,
    "parent_id": None,
    "name": "",
    "is_directory": True,
    # It is on no disk and never changes.
    "ctime": iso_time(0),
    "mtime": iso_time(0),
    "mime_type": "",
    "hash": "",
    "size": 0,
    "is_image": False,
    "is_video": False,
    "width": 0,
    "height": 0,
    "ms_duration": 0,
    "kind": "directory",
}
"""The super-root as a node of the feed."""


def shown(raw: bytes) -> tuple[str, str | UnsetType]:
    """Return bytes as text, and as base64 when the text cannot show them all."""
    try:
        return raw.decode(), UNSET
    except UnicodeDecodeError:
        return raw.decode("utf-8", "replace"), base64.b64encode(raw).decode("ascii")


def page_json(
    cursor: int,
    rows: list[tuple[int, int, bytes]],
    log_id: str,
    ids: NodeIds,
    *,
    has_more: bool,
    since: int | UnsetType = UNSET,
) -> bytes:
    """Encode a page of changes.

    Args:
        cursor: what the client sends next.
        rows: position, node number and record of each change.
        log_id: epoch of the cursor.
        ids: of the log.
        has_more: whether there is a next page.
        since: what goes with the cursor of a filtered page.

    Returns:
        The JSON.
    """
    return to_json(Changes(cursor, changes(rows, ids), has_more, log_id, since))


def rows_json(rows: list[tuple[int, int, bytes]], ids: NodeIds) -> bytes:
    """Encode changes as they stand between the brackets of a page.

    Args:
        rows: position, node number and record of each.
        ids: of the log.
    """
    return to_json(changes(rows, ids))[1:-1]


def changes(rows: list[tuple[int, int, bytes]], ids: NodeIds) -> list[Change]:
    """Return rows of the log as they go on the wire.

    One long loop: a function of its own for the node costs a tenth of the speed of a drain.

    Args:
        rows: position, node number and record of each.
        ids: of the log.
    """
    blocks, ends = _Ids(ids), _ID_ENDS
    to_id = _id_format(blocks)
    parents, media, forms = _Parents(to_id), _media, _FORMS
    found: list[Change] = []
    add = found.append
    for _, number, record in rows:
        event = decode_unchecked(record)
        if isinstance(event, Removed):
            add(_removal(to_id(number), parents[event.parent], event))
            continue
        state = event.state
        raw: str | UnsetType = UNSET
        try:
            name = state.name.decode()
        except UnicodeDecodeError:
            name, raw = shown(state.name)
        kind, is_directory, fixed_mime = forms.get(state.mode & _TYPE_BITS, _FILE)
        mime = state.mime or fixed_mime
        is_image, is_video = media[mime]
        mtime = iso_time(state.mtime_ns)
        # Most files stay as they were made, with both times equal.
        ctime = mtime if state.ctime_ns == state.mtime_ns else iso_time(state.ctime_ns)
        node = Node(
            blocks[number >> 12] + ends[number & 0xFFF],
            parents[state.parent],
            name,
            is_directory,
            ctime,
            mtime,
            mime,
            state.hash.hex(),
            state.size,
            is_image,
            is_video,
            state.width,
            state.height,
            state.duration_ms,
            kind,
            raw,
        )
        if kind == "symlink":
            node.target, node.target_raw = shown(state.target)
        add(Update(False, node))  # noqa: FBT003 - by position: keywords cost time
    return found


class _Ids(dict[int, str]):
    """The parts of ids that 4,096 numbers in a row share, for one page."""

    def __init__(self, ids: NodeIds) -> None:
        super().__init__()
        self._prefix = ids.to_id(1)[:-12]

    def __missing__(self, block: int) -> str:
        found = self[block] = f"{self._prefix}{block:09x}"
        return found


def _id_format(blocks: _Ids) -> Callable[[int], str]:
    """Return what makes ids of numbers above 0, as `NodeIds.to_id` does but four times as fast."""
    return lambda number: blocks[number >> 12] + _ID_ENDS[number & 0xFFF]


def _removal(node_id: str, parent_id: str, event: Removed) -> Removal:
    name, raw = shown(event.name)
    form = _FORMS.get(event.mode & _TYPE_BITS, _FILE)
    removal = Removal(True, node_id, event.reason, parent_id, name, form.is_directory, raw)  # noqa: FBT003 - as above
    if event.reason == LEFT:
        removal.left_filter = True
    return removal
