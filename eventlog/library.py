"""Events of the family media library. They are of the closed union in `eventlog.events`.

What the library knows beside the files are entities: users, sessions, notes on nodes, media facts,
shares, uploads, what is in the trash. An entity has a number as a node has: the position of its
first event. So nothing that works on events of one number (compaction, archive, snapshot, squash)
has to know what they are about. As with nodes, every event but `Ended` carries the whole state.

Field order is the stored format, as in `eventlog.events`. Times are microseconds since 1970 UTC.
"""

from enum import IntEnum
from typing import Final

import msgspec


class Kind(IntEnum):
    """What an entity is."""

    USER = 1
    SESSION = 2
    NOTE = 3
    FACTS = 4
    SHARE = 5
    UPLOAD = 6
    TRASHED = 7


class Part(IntEnum):
    """What a client uploads of a file."""

    ORIGIN = 0
    THUMB = 1
    SCREEN = 2


class Right(msgspec.Struct, frozen=True, array_like=True):
    """What a user may do in a root.

    Attributes:
        root: configured name of the root.
        write: whether more than read.
    """

    root: str
    write: bool


class Help(msgspec.Struct, frozen=True, array_like=True):
    """What clients store for themselves about anything; it means nothing here.

    Attributes:
        number, text: what they store.
        changed_us: when it was changed last; 0 for never.
    """

    number: int | None = None
    text: str | None = None
    changed_us: int = 0


class User(msgspec.Struct, frozen=True, array_like=True):
    """Somebody who may log in.

    Attributes:
        name: as it was given; no two users have names that differ in case only.
        password: argon2id hash in PHC form; empty: nobody can log in.
        rights: at most one for each root.
        created_us: when the user was made.
        changed_us: when name, password or rights were changed last.
        login_us: time of the last login; 0 for never.
        help: of the user's client.
    """

    name: str
    password: str
    rights: tuple[Right, ...]
    created_us: int
    changed_us: int
    login_us: int = 0
    help: Help = Help()


class Session(msgspec.Struct, frozen=True, array_like=True):
    """A login that has not ended.

    Attributes:
        user: number of the user.
        token: SHA-256 of the token, which only the client has.
        begun_us: time of the login.
        expires_us: when it ends, if it is not extended.
        address: of the client.
    """

    user: int
    token: bytes
    begun_us: int
    expires_us: int
    address: str


class Note(msgspec.Struct, frozen=True, array_like=True):
    """What people said of a file or a directory; None: nothing.

    Attributes:
        node: its number.
        name: shown in place of the name on the disk.
        parent: directory that it is shown in, in place of the one it is in; 0: that one.
        memo: any text.
        ext: file extension without a dot.
        type: a bit of `projections.library_types`.
        uploader: number of the user who uploaded it; 0 for nobody.
        created_us, modified_us, uploaded_us, imported_us: times as clients gave them.
        duration_ms: milliseconds.
        width, height: pixels.
        orientation: as in EXIF, 1 to 8; 0: not to be turned.
        longitude, latitude: degrees.
        thumb, screen: who makes the small and the large thumbnail, a file status of the seed.
        help: of the clients.
        changed_us: when this was changed last.
    """

    node: int
    name: str | None = None
    parent: int = 0
    memo: str | None = None
    ext: str | None = None
    type: int | None = None
    uploader: int = 0
    created_us: int | None = None
    modified_us: int | None = None
    uploaded_us: int | None = None
    imported_us: int | None = None
    duration_ms: int | None = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    longitude: float | None = None
    latitude: float | None = None
    thumb: int = 0
    screen: int = 0
    help: Help = Help()
    changed_us: int = 0


_MINUTE_US: Final = 60_000_000


class Facts(msgspec.Struct, frozen=True, array_like=True):
    """What a file says of itself: EXIF of a picture, the container of a video.

    Attributes:
        node: number of the file.
        hash: MD5 digest of the content that says so, as in the node's state.
        orientation: as in EXIF, 1 to 8; 0: not said.
        captured_us: when it was taken, as if its clock showed UTC; None: not said.
        offset_minutes: of that clock from UTC; None: not said.
        longitude, latitude, altitude: degrees, metres; None: not said.
        make, model: of the camera.
        pair: identifier that the two halves of a live photo share.
        problem: one line when nothing could be read.
        duration_ms: milliseconds, of audio and video.
        width, height: pixels, before any turning.
    """

    node: int
    hash: bytes
    orientation: int = 0
    captured_us: int | None = None
    offset_minutes: int | None = None
    longitude: float | None = None
    latitude: float | None = None
    altitude: float | None = None
    make: str = ""
    model: str = ""
    pair: str = ""
    problem: str = ""
    duration_ms: int = 0
    width: int = 0
    height: int = 0

    @property
    def taken_us(self) -> int | None:
        """When it was taken, microseconds since 1970 UTC: true when its clock's offset is known."""
        if self.captured_us is None:
            return None
        return self.captured_us - (self.offset_minutes or 0) * _MINUTE_US


class Share(msgspec.Struct, frozen=True, array_like=True):
    """A file that anyone who knows a key may read.

    Attributes:
        node: number of the file.
        user: number of whoever shared it; the share is worth what that user's rights are.
        key: SHA-256 of the key.
        begun_us, expires_us: from when and until when.
        left: bytes that may still be sent of it; None: any.
    """

    node: int
    user: int
    key: bytes
    begun_us: int
    expires_us: int
    left: int | None = None


class Upload(msgspec.Struct, frozen=True, array_like=True):
    """A file that is being uploaded.

    Attributes:
        user: number of the user.
        catalog: number of the directory that it is for.
        key: names its bytes in the staging directory of the root.
        name: of the file, as it is to be called.
        size: bytes announced.
        sizes: bytes of origin, thumb and screen that are on the disk.
        note: what is to be said of the file; its `node` is 0 until there is one.
        expires_us: when it is given up, if nothing comes.
        begun_us: when it was announced.
        file: inode number of what gets its place when it is whole; 0 before. After a crash it
            tells whether it got it.
    """

    user: int
    catalog: int
    key: str
    name: str
    size: int
    sizes: tuple[int, int, int]
    note: Note
    expires_us: int
    begun_us: int
    file: int = 0


class Trashed(msgspec.Struct, frozen=True, array_like=True):
    """Something in the trash.

    Attributes:
        root: configured name of the root.
        path: where it was, relative to the root, raw.
        key: its name in the trash of the root.
        node: number it had.
        user: number of whoever deleted it; 0 for none.
        deleted_us: when.
        size: bytes of it, and of all that is in it.
        is_directory: whether it has anything in it.
        notes: paths in it, raw, and numbers of the nodes there of which something was said.
        restored: path that it was put back to, raw, while what was said has yet to follow; else
            None: it is in the trash.
    """

    root: str
    path: bytes
    key: str
    node: int
    user: int
    deleted_us: int
    size: int
    is_directory: bool
    notes: tuple[tuple[bytes, int], ...] = ()
    restored: bytes | None = None


class UserChanged(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """A user was made or is another now."""

    author: str
    state: User


class SessionChanged(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Somebody logged in, or goes on to be logged in."""

    author: str
    state: Session


class NoteChanged(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """Something was said of a node."""

    author: str
    state: Note


class FactsFound(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """A file was read for what it says of itself."""

    author: str
    state: Facts


class ShareChanged(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A file was shared."""

    author: str
    state: Share


class UploadChanged(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """An upload was announced, or has come on."""

    author: str
    state: Upload


class TrashChanged(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """Something was put into the trash."""

    author: str
    state: Trashed


class Ended(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """A tombstone: the entity is gone for good.

    Attributes:
        kind: what it was, a `Kind`.
        reason: one word or a few.
    """

    author: str
    kind: int
    reason: str


LibraryStated = (
    UserChanged
    | SessionChanged
    | NoteChanged
    | FactsFound
    | ShareChanged
    | UploadChanged
    | TrashChanged
)
"""Events that carry the state of an entity."""

LibraryEvent = LibraryStated | Ended

Entity = User | Session | Note | Facts | Share | Upload | Trashed
