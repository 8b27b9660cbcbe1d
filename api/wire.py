"""The JSON that the feed speaks: the seed's keys in the seed's order, ours after them.

A field with the default UNSET is left out of the answer when it has nothing to say.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.status import Progress

NodeId = Annotated[str, Meta(description="A UUID that names the node for ever.")]
Time = Annotated[str, Meta(description="ISO 8601 in UTC; microseconds only when there are some.")]
Base64 = Annotated[str, Meta(description="Raw bytes in base64, only when they are not UTF-8.")]
Kind = Literal["file", "directory", "symlink", "fifo", "socket", "char_device", "block_device"]


class Node(msgspec.Struct, gc=False):
    """A file, directory or anything else with a name.

    Attributes:
        parent_id: the directory that holds it; null for the super-root only.
        name: bytes that are not UTF-8 are shown as U+FFFD; `name_raw` then has them all.
        hash: MD5 in hex, or "" while it is not computed.
        size: bytes.
        width: pixels, of images and videos.
        ms_duration: milliseconds, of videos.
        target: of a symbolic link, what it points to.
    """

    id: NodeId
    parent_id: NodeId | None
    name: str
    is_directory: bool
    ctime: Time
    mtime: Time
    mime_type: str
    hash: str
    size: int
    is_image: bool
    is_video: bool
    width: int
    height: int
    ms_duration: int
    kind: Kind
    name_raw: Base64 | UnsetType = UNSET
    target: str | UnsetType = UNSET
    target_raw: Base64 | UnsetType = UNSET


class Update(msgspec.Struct, gc=False):
    """A node is new or has changed; `node` is its whole state."""

    removed: Literal[False]
    node: Node


class Removal(msgspec.Struct, gc=False):
    """A node is gone for good; each of its descendants has a removal of its own.

    Attributes:
        reason: deleted, moved_out, replaced, excluded, root_removed or left_filter.
        parent_id: the directory that held it.
        name: its last name.
        left_filter: the node is still there, but no longer matches the filter.
    """

    removed: Literal[True]
    node_id: NodeId
    reason: str
    parent_id: NodeId
    name: str
    is_directory: bool
    name_raw: Base64 | UnsetType = UNSET
    left_filter: bool | UnsetType = UNSET


Change = Update | Removal


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of changes.

    A dataclass, as is `Gone`: msgspec refuses to describe a Struct that holds one of two other
    Structs unless a word tells them apart, and here a boolean does.

    Attributes:
        cursor: what to send for the next page.
        has_more: whether the next page has something now.
        log_id: epoch of the cursor; when it changes, begin again at cursor 0.
        since: with a filter only: send it with the cursor, and you are told of no removal of what
            you never had.
    """

    cursor: int
    changes: list[Change]
    has_more: bool
    log_id: str
    since: int | UnsetType = field(default_factory=lambda: UNSET)  # a plain one would be described


class Cursor(msgspec.Struct, gc=False):
    """Where the log ends now."""

    cursor: int
    log_id: str


class SnapshotBegin(msgspec.Struct, gc=False):
    """The first line of a snapshot: which log it is of, and as of which cursor.

    Attributes:
        since: with a filter only: what goes with the cursor, as in an answer of /changes.
    """

    log_id: str
    cursor: int
    since: int | UnsetType = UNSET


class SnapshotEnd(msgspec.Struct, gc=False):
    """The last line of a snapshot, without which it is not whole.

    Attributes:
        cursor: what to go on from, with /changes.
        count: how many changes came between the first line and this one.
    """

    log_id: str
    cursor: int
    count: int


class RootSync(msgspec.Struct, gc=False):
    """What a barrier found of one root.

    Attributes:
        synced: everything that was done in it before the request is in the feed.
        how: notified: by the root's notifications; compared: by a comparison with the disk,
            because there are none, or the root cannot be written; "" when it is not synced.
        reason: why it is not synced, else "".
    """

    name: str
    synced: bool
    how: str
    reason: str


class Synced(Cursor, gc=False):
    """Where the log ends now that it has caught up with the disks.

    Attributes:
        synced: whether every root is; one that is offline is not.
    """

    synced: bool
    roots: list[RootSync]


class NotSynced(msgspec.Struct):
    """A barrier was not reached in time; ask again, perhaps with more of it."""

    error: str
    detail: str
    log_id: str
    roots: list[RootSync]


class Root(Node, gc=False, kw_only=True):
    """The super-root, the virtual parent of all roots."""

    log_id: str


class NodePath(msgspec.Struct, gc=False):
    """Where a node is on the server's disk.

    Attributes:
        path: absolute; bytes that are not UTF-8 are shown as U+FFFD.
    """

    path: str
    log_id: str
    path_raw: Base64 | UnsetType = UNSET


class Problem(msgspec.Struct, omit_defaults=True):
    """Any error.

    Attributes:
        error: a word for programs.
        detail: a line for people.
        log_id: epoch of the log's positions, when the feed itself says no.
    """

    error: str
    detail: str
    log_id: str = ""


class NotReady(msgspec.Struct):
    """The very first scan is not complete; ask again after `Retry-After` seconds."""

    error: str
    detail: str
    log_id: str
    progress: Progress


@dataclass(frozen=True, slots=True)
class Gone:
    """The cursor cannot be honoured: drop what you have and begin again at cursor 0.

    The last four keys let a client that ignores the status do just that.

    Attributes:
        error: cursor_ahead, cursor_expired or foreign_log.
        earliest: the first position that is honoured as a cursor; 0: all are.
        head: the last position.
        resync: where to begin again.
    """

    error: str
    log_id: str
    earliest: int
    head: int
    resync: str
    cursor: Literal[0]
    changes: list[Change]
    has_more: Literal[True]
    reset: Literal[True]
