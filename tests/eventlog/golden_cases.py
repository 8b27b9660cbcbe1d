"""The events that are stored in `golden/`, one file each. A file once written never changes."""

from eventlog.events import (
    AnyEvent,
    Content,
    Created,
    Described,
    Modified,
    Moved,
    Reason,
    Removed,
    State,
)
from eventlog.library import (
    Ended,
    Facts,
    FactsFound,
    Help,
    Kind,
    Note,
    NoteChanged,
    Right,
    Session,
    SessionChanged,
    Share,
    ShareChanged,
    TrashChanged,
    Trashed,
    Upload,
    UploadChanged,
    User,
    UserChanged,
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

TIME = 1_700_000_000_123_456
HELP = Help(12, "only for the client é", TIME)
NOTE = Note(
    node=2**48 - 1,
    name="Ängström 🏖",
    parent=7,
    memo="m" * 1024,
    ext="jpeg",
    type=1,
    uploader=9,
    created_us=-1,
    modified_us=TIME,
    uploaded_us=TIME,
    imported_us=0,
    duration_ms=1_231_120,
    width=300,
    height=400,
    orientation=6,
    longitude=-179.999999,
    latitude=89.5,
    thumb=2,
    screen=3,
    help=HELP,
    changed_us=TIME,
)

GOLDEN: dict[str, AnyEvent] = {
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
    "removed-root": Removed("", Reason.ROOT_REMOVED, 0, b"photos", 0o40755, b"/srv/photos\xff"),
    "user": UserChanged(
        "command",
        User(
            "Terry",
            "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA",
            (Right("photos", write=True), Right("Фото", write=False)),
            TIME,
            TIME,
            TIME,
            HELP,
        ),
    ),
    "user-bare": UserChanged("", User("a", "", (), 0, 0)),
    "session": SessionChanged(
        "library:terry", Session(9, bytes(range(32)), TIME, TIME + 1, "2001:db8::1")
    ),
    "note": NoteChanged("library:terry", NOTE),
    "note-bare": NoteChanged("", Note(1)),
    "facts": FactsFound(
        "",
        Facts(
            node=5,
            hash=bytes(range(16)),
            orientation=8,
            captured_us=TIME,
            offset_minutes=-210,
            longitude=13.4,
            latitude=-52.5,
            altitude=34.25,
            make="Maker",
            model="Model é",
            pair="E1B2-pair",
            problem="",
            duration_ms=10,
            width=4000,
            height=3000,
        ),
    ),
    "facts-problem": FactsFound("", Facts(5, b"", problem="it is cut off")),
    "share": ShareChanged("library:terry", Share(5, 9, bytes(range(32)), TIME, TIME + 1)),
    "upload": UploadChanged(
        "library:terry",
        Upload(9, 3, "00ff", "beach.jpg", 2**40, (2**40, 0, 17), NOTE, TIME + 1, TIME),
    ),
    "trash": TrashChanged(
        "library:terry",
        Trashed("photos", b"2026/\xff.jpg", "00ff", 5, 9, TIME, 123, is_directory=False),
    ),
    **{f"ended-{kind.name.lower()}": Ended("library:terry", kind, "logged out") for kind in Kind},
}
