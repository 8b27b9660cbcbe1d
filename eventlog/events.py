"""The closed union of events. Field order is the stored format: see tests/eventlog/golden.

Those of the media library are in `eventlog.library`.
Every event but `Removed` carries the whole state of its node after it, so that a page of changes
is read from the log alone and merging the events of a node is "the last one wins".
New fields go at the end and have a default; a field is never removed, moved or given new meaning.
"""

import stat
from enum import IntEnum, StrEnum

import msgspec

from eventlog.library import Ended, LibraryEvent

SUPER_ROOT = 0
"""Number of the virtual parent of all roots. It has no event and is in no table."""

DISK = ""
"""Author of what was merely seen on the disk: no face claimed it."""


class Content(IntEnum):
    """How far the content-derived fields of a state (hash, type, dimensions) can be trusted."""

    NONE = 0
    """Not a regular file: there is nothing to compute."""
    PENDING = 1
    """To be computed; the fields hold what was known before, or nothing."""
    DONE = 2
    """Computed from the bytes that size, mtime, ctime and inode of this state describe."""
    SKIPPED = 3
    """Type and dimensions are computed, the hash is not (`skip_initial_hash`)."""
    FAILED = 4
    """Could not be computed wholly; not tried again until the file changes."""


class Reason(StrEnum):
    """Why a node is gone."""

    DELETED = "deleted"
    MOVED_OUT = "moved_out"
    REPLACED = "replaced"
    EXCLUDED = "excluded"
    ROOT_REMOVED = "root_removed"


class State(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """All that is known of a node after an event.

    Attributes:
        parent: number of the directory that holds it; `SUPER_ROOT` for a root.
        name: raw bytes as the filesystem gives them; for a root, its configured name (UTF-8).
        mode: `st_mode`, type bits included.
        size: bytes; 0 for anything but a regular file or a symbolic link.
        mtime_ns, ctime_ns: nanoseconds since 1970 UTC. Of a directory: when it was last announced.
        fs: identity of the filesystem that survives remounts (see watcher.filesystems); 0 when
            its inode numbers cannot be trusted.
        ino: inode number.
        uid, gid, nlink: as `lstat` says; `nlink` is 0 for directories, whose count is no news.
        target: of a symbolic link, what it points to; of a root, its absolute path; else empty.
        content: how far the fields below can be trusted, a `Content`.
        hash: MD5 digest (16 bytes) or empty.
        mime: MIME type or "".
        width, height: pixels, of images and videos.
        duration_ms: milliseconds, of videos.
    """

    parent: int
    name: bytes
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    fs: int
    ino: int
    uid: int
    gid: int
    nlink: int
    target: bytes = b""
    content: int = 0
    hash: bytes = b""
    mime: str = ""
    width: int = 0
    height: int = 0
    duration_ms: int = 0

    @property
    def is_directory(self) -> bool:
        """Whether the node can have children."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether the node is a regular file."""
        return stat.S_ISREG(self.mode)


class Created(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The first event of a node; its position is the node's number."""

    author: str
    state: State


class Modified(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """What `lstat` says of the node has changed, in place."""

    author: str
    state: State


class Moved(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """The node has another parent or name; below a directory nothing else changes."""

    author: str
    state: State
    from_parent: int
    from_name: bytes


class Described(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """The content-derived fields were computed, or could not be.

    Attributes:
        problem: one line for the operator when something failed, else "".
    """

    author: str
    state: State
    problem: str = ""


class Removed(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """A tombstone: the node is gone for good. Descendants get tombstones of their own.

    Attributes:
        reason: a `Reason`.
        parent, name, mode: as in the last state.
        target: of a root, its absolute path, as in the last state; else empty. Tombstones of
            roots that the first versions wrote do not have it.
    """

    author: str
    reason: str
    parent: int
    name: bytes
    mode: int
    target: bytes = b""


Event = Created | Modified | Moved | Described | Removed
"""Events about what is on the disk: the only ones that clients of the feed are told of."""

AnyEvent = Event | LibraryEvent
"""All that the log can hold."""

TOMBSTONES = (Removed, Ended)
"""After one of these nothing more happens to a node or an entity."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the log.

    Attributes:
        position: its place; rises, is never reused and never renumbered.
        node: number of the node it is about.
        time_us: when it was appended, microseconds since 1970 UTC; never falls.
    """

    position: int
    node: int
    time_us: int
    event: AnyEvent
