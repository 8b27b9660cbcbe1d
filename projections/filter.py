"""Which nodes a client wants, and which it may have of those that it does not want any more.

A client folds a filtered feed as it folds the whole one, and must end with exactly the nodes that
match. The server keeps nothing about it. All it is told is a cursor, and perhaps `since`: a
position that is such that all the client holds was read at or after it, or was then complete.

The rule, for each last event of a node after the cursor, in order of position:

1. A node that is there and matches is told whole.
2. Any other is told as removed, if the client can know it (its number is not above the cursor) and
   may have matched since `since`: see `Membership.may_have_matched`.
3. If the node is a directory that may have entered or left the wanted place since `since`, the same
   is told of all below it whose last event is not after the cursor. What is below it and has later
   events has its turn then. (A directory whose last event is its first brought nothing with it.)

Why this is enough: take the last event among those of a node and of the directories that it is in
at the end. When that event has its turn, the node is where it will be at the end. So it is then
told right, by 1 or 2 if the event is its own, else by 3. Whatever is told of it later is told from
a state at least as new, so it stays right.

Why nothing is left behind by 2: what the client has, it had at `since` or was told later; so the
node matched at that time, and that can be seen in the states since then of the node and of the
directories it was in. A compaction drops the oldest events of a node first. So either all states
since then are there, or the oldest is missing, which counts as a match. Without `since` all states
that ever were count. Then a client may be told that a node is gone that it never had, which costs
it nothing.
"""

import stat
from collections.abc import Sequence
from enum import IntFlag
from typing import Final, NamedTuple, Protocol

from eventlog.events import SUPER_ROOT, State

LEFT: Final = "left_filter"
"""Reason of a removal from a filtered feed: the node is still there, but no longer wanted."""

KINDS: Final = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char_device",
    stat.S_IFBLK: "block_device",
}
"""What a node is, by the type bits of its mode."""

MIMES: Final = {
    stat.S_IFLNK: "inode/symlink",
    stat.S_IFIFO: "inode/fifo",
    stat.S_IFSOCK: "inode/socket",
    stat.S_IFCHR: "inode/chardevice",
    stat.S_IFBLK: "inode/blockdevice",
}
"""MIME types of what has no content."""


class Filter(NamedTuple):
    """What a client wants; a node must satisfy all that is given.

    Attributes:
        root: name of the root that it is in, or None.
        under: number of the directory that it is, or is below, or None.
        mimes: its MIME type begins with one of these; empty: any.
        kinds: it is one of these, see `KINDS`; empty: any.
    """

    root: bytes | None = None
    under: int | None = None
    mimes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def wants(self, mode: int, mime: str) -> bool:
        """Return whether a node is wanted as far as it says itself.

        Args:
            mode: `st_mode`.
            mime: its own MIME type, or "".
        """
        form = stat.S_IFMT(mode)
        if self.kinds and KINDS.get(form, "file") not in self.kinds:
            return False
        return not self.mimes or (mime or MIMES.get(form, "")).startswith(self.mimes)

    def anchors(self) -> list["Anchor"]:
        """Return the places that a node must be in, all of them."""
        wanted = [] if self.root is None else [Anchor(root=self.root)]
        # All is below the super-root.
        return wanted if self.under in {None, SUPER_ROOT} else [*wanted, Anchor(under=self.under)]


class Step(NamedTuple):
    """A state of a node, as far as filters look at it.

    Attributes:
        parent, name, mode, mime: as in `State`.
    """

    parent: int
    name: bytes
    mode: int
    mime: str


class Steps(NamedTuple):
    """The states of a node since some position, that at the position included; none when gone.

    Attributes:
        all: the states.
        is_whole: whether none is missing.
    """

    all: Sequence[Step]
    is_whole: bool


class Whereabouts(Protocol):
    """Where nodes are at one time."""

    def place(self, number: int) -> tuple[int, bytes] | None:
        """Return parent and name of a live node, or None."""
        ...


class Lookup(Whereabouts, Protocol):
    """Where nodes are, and what they were before."""

    def steps(self, number: int) -> Steps:
        """Return the states of a node since `since`."""
        ...


class Anchor(NamedTuple):
    """A wanted place: a root by its name, or a directory by its number."""

    root: bytes | None = None
    under: int | None = None

    def decides(self, number: int, parent: int, name: bytes) -> bool | None:
        """Return whether a node is in the place, or None when that depends on its parent."""
        if self.under is not None and number == self.under:
            return True
        if parent == SUPER_ROOT:
            return self.under is None and name == self.root
        return None


class Been(IntFlag):
    """Where a node has been since some time; both: inside and outside, or nobody knows."""

    INSIDE = 1
    OUTSIDE = 2


_UNKNOWN: Final = Been.INSIDE | Been.OUTSIDE


class Place:
    """Which nodes are in a wanted place; remembers what it was asked.

    Args:
        anchor: the place.
        whereabouts: where nodes are.
    """

    def __init__(self, anchor: Anchor, whereabouts: Whereabouts) -> None:
        self._anchor = anchor
        self._whereabouts = whereabouts
        self._now: dict[int, bool] = {SUPER_ROOT: False}

    def holds(self, number: int, parent: int, name: bytes) -> bool:
        """Return whether a live node is in the place now."""
        decided = self._anchor.decides(number, parent, name)
        return self._is_directory_inside(parent) if decided is None else decided

    def _is_directory_inside(self, number: int) -> bool:
        way: dict[int, None] = {}
        answer: bool | None = self._now.get(number)
        while answer is None:
            place = None if number in way else self._whereabouts.place(number)
            way[number] = None
            # Directories in a circle, or in one that is gone, are nowhere until seen again.
            answer = False if place is None else self._anchor.decides(number, *place)
            if answer is None and place is not None:
                number = place[0]
                answer = self._now.get(number)
        self._now.update(dict.fromkeys(way, answer))
        return answer


class PlacePast:
    """Which nodes may have been in a wanted place; remembers what it was asked.

    Args:
        anchor: the place.
        lookup: what is known of nodes.
    """

    def __init__(self, anchor: Anchor, lookup: Lookup) -> None:
        self.anchor = anchor
        self._lookup = lookup
        self._been: dict[int, Been] = {SUPER_ROOT: Been.OUTSIDE}

    def been(self, number: int) -> Been:
        """Return where a node may have been: wherever any of its parents may have been."""
        todo, ways = [number], dict[int, tuple[Been, set[int]]]()
        while todo:
            number = todo[-1]
            if number in self._been:
                todo.pop()
            elif number in ways:
                outcome, parents = ways.pop(todo.pop())
                for parent in parents:
                    # A parent that is not known yet is this node's child as well, at another time.
                    outcome |= self._been.get(parent, _UNKNOWN)
                self._been[number] = outcome
            else:
                ways[number] = self._way(number)
                todo += [each for each in ways[number][1] if each not in ways]
        return self._been[number]

    def _way(self, number: int) -> tuple[Been, set[int]]:
        """Return what the states of a node decide, and the parents that decide the rest."""
        steps = self._lookup.steps(number)
        outcome = Been(0) if steps.is_whole else _UNKNOWN
        parents = set()
        for step in steps.all:
            decided = self.anchor.decides(number, step.parent, step.name)
            if decided is None:
                parents.add(step.parent)
            else:
                outcome |= Been.INSIDE if decided else Been.OUTSIDE
        return outcome, parents


class Matching:
    """Which nodes match a filter at one time.

    Args:
        wanted: the filter.
        whereabouts: where nodes are at that time.
    """

    def __init__(self, wanted: Filter, whereabouts: Whereabouts) -> None:
        self._wanted = wanted
        self._places = [Place(anchor, whereabouts) for anchor in wanted.anchors()]

    def matches(self, number: int, state: State) -> bool:
        """Return whether a node that is there at that time matches."""
        return self._wanted.wants(state.mode, state.mime) and all(
            place.holds(number, state.parent, state.name) for place in self._places
        )


class Membership(Matching):
    """Which nodes match a filter now, and which may have matched.

    Args:
        wanted: the filter.
        lookup: what is known of nodes.
    """

    def __init__(self, wanted: Filter, lookup: Lookup) -> None:
        super().__init__(wanted, lookup)
        self._lookup = lookup
        self._pasts = [PlacePast(anchor, lookup) for anchor in wanted.anchors()]

    def may_have_matched(self, number: int) -> bool:
        """Return whether a node, live or not, may have matched at some time since `since`."""
        steps = self._lookup.steps(number)
        may = not steps.is_whole or any(self._wanted.wants(s.mode, s.mime) for s in steps.all)
        return may and all(Been.INSIDE in past.been(number) for past in self._pasts)

    def may_have_crossed(self, number: int) -> bool:
        """Return whether a directory may have taken what is below it into, or out of, the place.

        What is below a directory is in the root that it is in. But it may be under the wanted
        directory without it: when that is below it, too.
        """
        been = [(past.anchor, past.been(number)) for past in self._pasts]
        return any(each == _UNKNOWN for _, each in been) and all(
            Been.INSIDE in each for anchor, each in been if anchor.under is None
        )
