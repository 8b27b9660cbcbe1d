"""What the feed says, typed. Keys that are not known here are ignored, as its contract wants."""

import base64
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

SUPER_ROOT_ID: Final = "00000000-0000-0000-0000-000000000000"
"""The parent of all roots; it is in no page."""


class Position(msgspec.Struct, frozen=True):
    """How far a client has come, and in which log.

    Attributes:
        cursor: of the last page; 0: nothing is known.
        log_id: which log it is of; "" from a server that does not say.
    """

    cursor: int = 0
    log_id: str = ""


START: Final = Position()


class Node(msgspec.Struct, frozen=True, gc=False):
    """A file, directory or anything else with a name.

    Attributes:
        parent_id: the directory that holds it; `SUPER_ROOT_ID` for a root.
        name: bytes that are not UTF-8 are shown as U+FFFD; see `raw_name`.
        ctime, mtime: ISO 8601.
        hash: MD5 in hex, or "" while it is not computed.
        size: bytes.
        kind: file, directory, symlink …; "" from a server that does not say.
        name_raw, target_raw: base64 of what is not UTF-8.
        target: of a symbolic link.
    """

    id: str
    parent_id: str | None
    name: str
    is_directory: bool
    ctime: str = ""
    mtime: str = ""
    mime_type: str = ""
    hash: str = ""
    size: int = 0
    is_image: bool = False
    is_video: bool = False
    width: int = 0
    height: int = 0
    ms_duration: int = 0
    kind: str = ""
    name_raw: str | UnsetType = UNSET
    target: str | UnsetType = UNSET
    target_raw: str | UnsetType = UNSET

    @property
    def raw_name(self) -> bytes:
        """The name as it is on the disk."""
        return base64.b64decode(self.name_raw) if self.name_raw else self.name.encode()


class Change(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A node is there, or is gone.

    Attributes:
        removed: whether it is gone.
        node_id, parent_id, name, is_directory, reason: of what is gone; the seed says only the id.
        node: the whole state of what is there.
    """

    removed: bool
    node_id: str = ""
    parent_id: str = ""
    name: str = ""
    is_directory: bool = False
    reason: str = ""
    node: Node | None = None

    @property
    def id(self) -> str:
        """The node's id."""
        return self.node_id if self.node is None else self.node.id


class Page(msgspec.Struct, frozen=True):
    """One answer of `/changes`, or one step of a stream.

    Attributes:
        cursor: what to ask with next.
        changes: each as its JSON; see `decoded`.
        has_more: whether there is more now.
        log_id: which log the cursor is of.
        reset: the cursor was refused: what follows is everything there is, from the beginning.
    """

    cursor: int
    changes: list[msgspec.Raw] = []
    has_more: bool = False
    log_id: str = ""
    reset: bool = False

    @property
    def position(self) -> Position:
        """Where a client is that has applied this page."""
        return Position(self.cursor, self.log_id)

    def decoded(self) -> list[Change]:
        """Return the changes, typed, in order.

        Raises:
            msgspec.ValidationError: one of them is no change.
        """
        return [msgspec.json.decode(raw, type=Change) for raw in self.changes]
