"""Hypothesis strategies for what the log stores."""

import stat

import msgspec
from hypothesis import strategies as st

from eventlog.events import (
    SUPER_ROOT,
    Content,
    Created,
    Described,
    Event,
    Modified,
    Moved,
    Reason,
    Record,
    Removed,
    State,
)
from eventlog.library import (
    Ended,
    Kind,
    LibraryEvent,
    Note,
    NoteChanged,
    Right,
    User,
    UserChanged,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT32 = st.integers(0, 2**32 - 1)
NUMBERS = st.integers(0, 2**48 - 1)
AUTHORS = st.sampled_from(["", "smb:anna", "feed"]) | st.text(max_size=20)
MODES = st.builds(
    int.__or__,
    st.sampled_from(
        [
            stat.S_IFREG,
            stat.S_IFDIR,
            stat.S_IFLNK,
            stat.S_IFIFO,
            stat.S_IFSOCK,
            stat.S_IFCHR,
            stat.S_IFBLK,
        ]
    ),
    st.integers(0, 0o7777),
)


def names() -> st.SearchStrategy[bytes]:
    """Every name that a Linux filesystem can hold."""
    return st.binary(min_size=1, max_size=255).filter(
        lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
    )


def states() -> st.SearchStrategy[State]:
    """Any state that can be stored, sensible or not."""
    return st.builds(
        State,
        parent=NUMBERS,
        name=names(),
        mode=MODES,
        size=st.integers(0, 2**63 - 1),
        mtime_ns=INT64,
        ctime_ns=INT64,
        fs=INT64,
        ino=st.integers(0, 2**64 - 1),
        uid=UINT32,
        gid=UINT32,
        nlink=UINT32,
        target=st.binary(max_size=300),
        content=st.sampled_from(Content).map(int),
        hash=st.just(b"") | st.binary(min_size=16, max_size=16),
        mime=st.text(max_size=40),
        width=UINT32,
        height=UINT32,
        duration_ms=NUMBERS,
    )


def events() -> st.SearchStrategy[Event]:
    """Any event that can be stored."""
    return st.one_of(
        st.builds(Created, author=AUTHORS, state=states()),
        st.builds(Modified, author=AUTHORS, state=states()),
        st.builds(Moved, author=AUTHORS, state=states(), from_parent=NUMBERS, from_name=names()),
        st.builds(Described, author=AUTHORS, state=states(), problem=st.text(max_size=60)),
        st.builds(
            Removed,
            author=AUTHORS,
            reason=st.sampled_from(Reason).map(str),
            parent=NUMBERS,
            name=names(),
            mode=MODES,
        ),
    )


KINDS = ("create", "create", "modify", "move", "describe", "remove")
ALL_KINDS = (*KINDS, "library")


class History:
    """A history in the making: it appends only what can follow.

    Args:
        kinds: of what can happen.

    Attributes:
        records: what happened so far.
        live: the states of the nodes that there are.
        entities: the numbers of the library's users that there are.
        notes: the numbers of the notes that there are, by the nodes that they are on.
    """

    def __init__(self, kinds: tuple[str, ...] = KINDS) -> None:
        self.kinds = kinds
        self.records: list[Record] = []
        self.live: dict[int, State] = {}
        self.entities: list[int] = []
        self.notes: dict[int, int] = {}

    def directories(self) -> list[int]:
        return [n for n, state in self.live.items() if state.is_directory]

    def put(self, node: int, event: Event) -> None:
        position = len(self.records) + 1
        self.records.append(Record(position, node or position, position, event))
        if isinstance(event, Removed):
            del self.live[node]
        else:
            self.live[node or position] = event.state

    def put_user(self, number: int, event: LibraryEvent) -> None:
        position = len(self.records) + 1
        self.records.append(Record(position, number or position, position, event))
        if isinstance(event, Ended):
            self.entities.remove(number)
        elif not number:
            self.entities.append(position)

    def remove(self, node: int, reason: str) -> None:
        """Remove a node and all below it, the deepest first; circles too."""
        state = self.live[node]
        below = [n for n, s in self.live.items() if s.parent == node and n != node]
        parents = {node}
        for child in below:
            if child in self.live and child not in parents:
                self._remove_below(child, reason, parents)
        where = state.target if state.parent == SUPER_ROOT else b""
        self.put(node, Removed("", reason, state.parent, state.name, state.mode, where))

    def _remove_below(self, node: int, reason: str, seen: set[int]) -> None:
        seen.add(node)
        for child in [n for n, s in self.live.items() if s.parent == node]:
            if child in self.live and child not in seen:
                self._remove_below(child, reason, seen)
        state = self.live[node]
        where = state.target if state.parent == SUPER_ROOT else b""
        self.put(node, Removed("", reason, state.parent, state.name, state.mode, where))


SHORT_NAMES = (b"a", b"b", b"c", b"\xff", b"a\n")
FILESYSTEMS = (0, 7, -(2**63))
INODES = (1, 2, 3, 4, 2**63, 2**64 - 1)
TARGETS = (b"/", b"/srv/a", b"/srv/ab/")

STEPS = st.binary(min_size=8, max_size=8)
"""One thing that happens, as eight choices: far faster to draw than the thing itself."""


def happen(history: History, step: bytes) -> None:
    """Append one more thing that happens to a history.

    Names, inodes and parents are few, so that nodes meet each other.
    """
    kind, fresh = history.kinds[step[0] % len(history.kinds)], _state(history, step)
    if kind == "library":
        happen_in_library(history, step)
        return
    if kind == "create" or not history.live:
        history.put(0, Created("", fresh))
        return
    node = sorted(history.live)[step[7] % len(history.live)]
    old = history.live[node]
    if kind == "modify":
        new = msgspec.structs.replace(old, size=fresh.size, fs=fresh.fs, ino=fresh.ino)
        history.put(node, Modified("", new))
    elif kind == "describe":
        content = Content.NONE if old.is_directory else fresh.content
        history.put(node, Described("", msgspec.structs.replace(old, content=content)))
    elif kind == "move" and old.parent != SUPER_ROOT and fresh.parent not in {SUPER_ROOT, node}:
        new = msgspec.structs.replace(old, parent=fresh.parent, name=fresh.name)
        history.put(node, Moved("", new, old.parent, old.name))
    else:
        history.remove(node, list(Reason)[step[1] % len(Reason)])


def happen_in_library(history: History, step: bytes) -> None:
    """Append something that happens to a user of the media library, or is said of a node."""
    if step[4] % 2 and history.records:
        say_of_node(history, step)
        return
    known = [0, 0, *history.entities]
    number = known[step[7] % len(known)]
    if number and step[1] % 3 == 0:
        history.put_user(number, Ended("", Kind.USER, "removed"))
    else:
        user = User(f"user{step[2] % 4}", "", (Right("media", bool(step[3] % 2)),), step[4], 0)
        history.put_user(number, UserChanged("", user))


def say_of_node(history: History, step: bytes) -> None:
    """Append a note on a node that there is or was: new, changed or withdrawn."""
    node = step[5] % len(history.records) + 1
    number = history.notes.get(node, 0)
    if number and step[1] % 3 == 0:
        del history.notes[node]
        event: LibraryEvent = Ended("", Kind.NOTE, "withdrawn")
    else:
        parents = [0, *sorted(history.live), node]
        parent = parents[step[6] % len(parents)]
        event = NoteChanged("", Note(node, parent=parent, type=step[7] % 3 or None))
        history.notes.setdefault(node, len(history.records) + 1)
    position = len(history.records) + 1
    history.records.append(Record(position, number or position, position, event))


def _state(history: History, step: bytes) -> State:
    parents = [SUPER_ROOT, *history.directories()]
    parent = parents[step[1] % len(parents)]
    is_directory = parent == SUPER_ROOT or bool(step[2] & 1)
    return State(
        parent=parent,
        name=SHORT_NAMES[step[3] % len(SHORT_NAMES)],
        mode=(stat.S_IFDIR if is_directory else stat.S_IFREG) | 0o644,
        size=step[4],
        mtime_ns=0,
        ctime_ns=0,
        fs=FILESYSTEMS[step[5] % len(FILESYSTEMS)],
        ino=INODES[step[6] % len(INODES)],
        uid=0,
        gid=0,
        nlink=1,
        target=b"" if parent else TARGETS[step[4] % len(TARGETS)],
        content=Content.NONE if is_directory else step[4] % len(Content),
    )


def _history(steps: list[bytes], kinds: tuple[str, ...] = KINDS) -> list[Record]:
    history = History(kinds)
    for step in steps:
        happen(history, step)
    return history.records


def histories(*, longest: int = 30) -> st.SearchStrategy[list[Record]]:
    """Events as the watcher could append them, and moves into a node's own descendants too."""
    return st.lists(STEPS, max_size=longest).map(_history)


def wandering_histories(*, longest: int = 30) -> st.SearchStrategy[list[Record]]:
    """As `histories`, with more moves in them."""
    kinds = ("create", "create", "move", "move", "modify")
    return st.lists(STEPS, min_size=8, max_size=longest).map(lambda steps: _history(steps, kinds))


def mixed_histories(*, longest: int = 30) -> st.SearchStrategy[list[Record]]:
    """As `histories`, with events of the media library among them."""
    return st.lists(STEPS, max_size=longest).map(lambda steps: _history(steps, ALL_KINDS))
