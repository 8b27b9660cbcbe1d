"""The JSON of what was: nodes, children and histories, as of a position."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from api.wire import Base64, Node, Removal, Time, Update

Position = Annotated[int, Meta(description="A position of the log.")]
EventKind = Literal["created", "modified", "moved", "described", "removed"]


class LiveNode(Update, gc=False, kw_only=True):
    """A node that there is, or was at the position that is shown.

    Attributes:
        position: the state is shown as of it.
        exact: whether it is the very position that was asked for, not an earlier one.
        changed: position of the node's last event up to then; 0 for the super-root.
        time: when that was.
        path: absolute path on the server's disk, where there is one.
        log_id: epoch of the positions.
    """

    position: Position
    exact: bool
    changed: Position
    time: Time
    log_id: str
    path: str | UnsetType = UNSET
    path_raw: Base64 | UnsetType = UNSET


class GoneNode(Removal, gc=False, kw_only=True):
    """The tombstone of a node: it was gone at the position that is shown.

    Attributes:
        position: the state is shown as of it.
        exact: whether it is the very position that was asked for, not an earlier one.
        changed: position of the removal.
        time: when that was.
        path: absolute path that it had, where that is known.
        log_id: epoch of the positions.
    """

    position: Position
    exact: bool
    changed: Position
    time: Time
    log_id: str
    path: str | UnsetType = UNSET
    path_raw: Base64 | UnsetType = UNSET


class Children(msgspec.Struct, gc=False):
    """A page of what is, or was, in a directory, in order of the names' bytes.

    Attributes:
        position: the directory is shown as of it.
        exact: whether it is the very position that was asked for, not an earlier one.
        after: what to send for the next page; null on the last.
        has_more: whether there is a next page.
        log_id: epoch of the positions.
    """

    position: Position
    exact: bool
    children: list[Node]
    after: str | None
    has_more: bool
    log_id: str


class NodeEvent(msgspec.Struct, gc=False):
    """Something that happened to a node.

    Attributes:
        position: its place in the log.
        time: when it was recorded.
        event: what happened.
        author: who did it, where a face of the server knows; "" for what was seen on the disk.
        node: the node after it, unless it was removed.
        removal: of removed: the tombstone.
        problem: of described: what failed, one line.
        path: of moved and removed: where it led, or where the node was.
        from_parent_id: of moved: the directory that held the node before.
        from_name: of moved: its name before.
        from_path: of moved: its path before, while the log remembers that.
    """

    position: Position
    time: Time
    event: EventKind
    author: str
    node: Node | UnsetType = UNSET
    removal: Removal | UnsetType = UNSET
    problem: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    path_raw: Base64 | UnsetType = UNSET
    from_parent_id: str | UnsetType = UNSET
    from_name: str | UnsetType = UNSET
    from_name_raw: Base64 | UnsetType = UNSET
    from_path: str | UnsetType = UNSET
    from_path_raw: Base64 | UnsetType = UNSET


class NodeHistory(msgspec.Struct, gc=False):
    """A page of the events of a node, the oldest first.

    Attributes:
        after: what to send for the next page.
        has_more: whether there is a next page now.
        earliest: from here on every event is there; up to here only the last one.
        log_id: epoch of the positions.
    """

    events: list[NodeEvent]
    after: Position
    has_more: bool
    earliest: Position
    log_id: str


class NotCovered(msgspec.Struct):
    """Neither the log nor its snapshots go back so far, or the log not yet so far ahead.

    Attributes:
        error: before_history, position_ahead, or position_lost by a restore.
        detail: a line for people.
        earliest: the first position that can be asked for.
        earliest_time: the first time that can be asked for; "" when it is the beginning.
        head: the last position.
    """

    error: str
    detail: str
    log_id: str
    earliest: Position
    earliest_time: str
    head: Position
