"""The events that are stored in `golden/`, one file each. A file once written never changes."""

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

FILE = State(
    parent=1,
    name=b"photo.jpg",
    mode=0o100644,
    size=123_456,
    mtime_ns=1_700_000_000_123_456_789,
    ctime_ns=1_700_000_000_987_654_321,
    fs=0x1122334455667788,
    ino=4_242,
    uid=1000,
    gid=100,
    nlink=1,
    content=Content.DONE,
    hash=bytes(range(16)),
    mime="image/jpeg",
    width=4_000,
    height=3_000,
)
FOLDER = State(1, b"folder", 0o40755, 0, 1, 2, 3, 4, 0, 0, 0)
LINK = State(1, b"link", 0o120777, 7, 1, 2, 3, 5, 0, 0, 1, target=b"../\xff\xfe")
LIMITS = State(
    parent=2**48 - 1,
    name=b"\xff" * 255,
    mode=0o177777,
    size=2**63 - 1,
    mtime_ns=-(2**63),
    ctime_ns=2**63 - 1,
    fs=-(2**63),
    ino=2**63 - 1,
    uid=2**32 - 1,
    gid=2**32 - 1,
    nlink=2**32 - 1,
    target=b"/" * 4096,
    content=Content.FAILED,
    hash=b"\xff" * 16,
    mime="application/x-" + "é" * 100,
    width=2**31,
    height=2**31,
    duration_ms=2**40,
)

GOLDEN: dict[str, Event] = {
    "created-root": Created(
        "", State(0, "Фото".encode(), 0o40755, 0, 0, 0, 0, 2, 0, 0, 0, b"/srv/photos")
    ),
    "created-directory": Created("smb:anna", FOLDER),
    "created-file": Created("", FILE),
    "created-link": Created("", LINK),
    "created-odd-name": Created("", State(1, b"a\nb\xff \t", 0o10644, 0, 1, 2, 3, 6, 0, 0, 1)),
    "created-limits": Created("x" * 200, LIMITS),
    "modified-file": Modified("", FILE),
    "modified-limits": Modified("", LIMITS),
    "moved-file": Moved("spockfs:bert", FILE, 17, b"old name"),
    "moved-directory": Moved("", FOLDER, 0, b""),
    "described-file": Described("", FILE),
    "described-problem": Described("", LIMITS, "worker killed after 10 s: é\n"),
    **{
        f"removed-{reason.replace('_', '-')}": Removed("", reason, 9, b"gone\xff", 0o100600)
        for reason in Reason
    },
}
