"""What a look at the disk says. Values only: nothing here touches the disk or the log."""

import os
import stat
from typing import NamedTuple

import msgspec

from eventlog.events import Content, State
from projections.tree import Node
from watcher.backend import CONTENT, NOTHING, Place, Sign


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What `lstat` says of a name, in the terms of `eventlog.events.State`."""

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

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)


class Observation(NamedTuple):
    """A look at a place.

    Attributes:
        place: where.
        facts: what is there; None when nothing is, or nothing that belongs into the feed.
        signs: what the kernel had said of the place; none when a scan came by.
        excluded: something is there, but its name is excluded.
        birth_ns: when the file was made, nanoseconds since 1970, asked for only where a file
            turned up in a new place; None when unknown.
        hidden: what is there although it is excluded, if it was just moved there.
        doubted: bytes may have been written under another name, of which nobody heard.
    """

    place: Place
    facts: Facts | None
    signs: Sign = NOTHING
    excluded: bool = False
    birth_ns: int | None = None
    doubted: bool = False
    hidden: Facts | None = None


def new_state(place: Place, facts: Facts, target: bytes | None = None) -> State:
    """Return the first state of a node.

    Args:
        place: where it is.
        facts: what is there.
        target: overrides that of the facts, for a root.
    """
    return State(
        parent=place.directory,
        name=place.name,
        mode=facts.mode,
        size=facts.size,
        mtime_ns=facts.mtime_ns,
        ctime_ns=facts.ctime_ns,
        fs=facts.fs,
        ino=facts.ino,
        uid=facts.uid,
        gid=facts.gid,
        nlink=facts.nlink,
        target=facts.target if target is None else target,
        content=Content.PENDING if stat.S_ISREG(facts.mode) else Content.NONE,
    )


def same_bytes(state: State, facts: Facts) -> bool:
    """Say whether a file seems to hold what it held, as rsync's quick check does."""
    return (
        state.size == facts.size
        and state.mtime_ns == facts.mtime_ns
        and state.mode >> 12 == facts.mode >> 12
    )


def unchanged_since(state: State, found: os.stat_result, fs: int) -> bool:
    """As `unchanged`, straight from `lstat`, for scans that find nothing new almost everywhere.

    The target of a symbolic link is not compared: a link cannot be written anew in place.

    Args:
        state: what is known.
        found: what `lstat` says.
        fs: identity of the filesystem.
    """
    if (
        state.ino != found.st_ino
        or state.mode != found.st_mode
        or state.uid != found.st_uid
        or state.gid != found.st_gid
        or state.fs != fs
    ):
        return False
    return stat.S_ISDIR(state.mode) or (
        state.ctime_ns == found.st_ctime_ns
        and state.mtime_ns == found.st_mtime_ns
        and state.nlink == found.st_nlink
        and (state.size == found.st_size or not stat.S_ISREG(state.mode))
    )


def unchanged(state: State, facts: Facts) -> bool:
    """Say whether a look found what is known already.

    That a directory's times follow its children is no change of its own.
    """
    if (
        state.mode != facts.mode
        or state.ino != facts.ino
        or state.uid != facts.uid
        or state.gid != facts.gid
        or state.fs != facts.fs
    ):
        return False
    return stat.S_ISDIR(facts.mode) or (
        state.ctime_ns == facts.ctime_ns
        and state.mtime_ns == facts.mtime_ns
        and state.size == facts.size
        and state.nlink == facts.nlink
        and state.target == facts.target
    )


def is_news(seen: Observation, node: Node | None) -> bool:
    """Say whether a look can mean an event, so that the writer is not asked about echoes.

    Most hints are about what was recorded already, as faces and scans are quicker than them.

    Args:
        seen: the look.
        node: what is known at its place.
    """
    if node is None or seen.facts is None:
        return node is not None or seen.facts is not None or Sign.MOVED_FROM in seen.signs
    rewritten = bool(seen.signs & CONTENT) and node.state.content != Content.PENDING
    return rewritten or not unchanged(node.state, seen.facts)
