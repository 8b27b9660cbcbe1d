"""Hypothesis strategies for what the log stores."""

import stat

from hypothesis import strategies as st

from eventlog.events import (
    Content,
    Created,
    Described,
    Event,
    Modified,
    Moved,
    Reason,
    Removed,
    State,
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
        ino=INT64,
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
