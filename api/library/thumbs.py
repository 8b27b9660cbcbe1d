"""Thumbnails: those that clients made, and those that are made here, on demand or before."""

import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from api.files.conditions import etag_of
from api.library import download, parcels
from api.library.call import Call, Place, Reading
from api.library.notes import AWAITED, FAILED, UPLOADED
from api.library.thumb_cache import ThumbCache
from api.library.wire import NO_THUMBNAIL, UPLOAD_AWAITED, WRONG_TYPE, LibraryError
from eventlog.events import Content
from eventlog.library import Facts, Part
from projections.library_types import FileType
from projections.media import Row

BOXES: Final = (100, 800)
"""Sizes of the levels 0 and 1, pixels."""

VISIBLE: Final = (FileType.IMAGE, FileType.GIF, FileType.VIDEO)
"""Types of which there are thumbnails."""

_PARTS: Final = (Part.THUMB, Part.SCREEN)
_JPEG, _WEBP = "image/jpeg", "image/webp"
_SNIFFED: Final = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)
_REFUSED: Final = re.compile(r"q=(?!0\.?0*[1-9]|1)\S*")
_NOT_FOUND: Final = 404
_NOT_NOW: Final = 503
"""Of a thumbnail that could not be made this time."""


class Looked(NamedTuple):
    """What came of looking at a file.

    Attributes:
        images: a thumbnail for each size; none when there is a problem.
        facts: what it says of itself, without number and hash; None if not wanted, or not known.
        problem: one line; "" when all went well.
        lasting: whether the same would come of it again, as long as the file does not change.
    """

    images: Sequence[bytes]
    facts: Facts | None
    problem: str
    lasting: bool = True


class Look(Protocol):
    """Looks at open files, in processes that hostile files can harm."""

    def __call__(self, fd: int, boxes: tuple[int, ...], *, webp: bool, facts: bool) -> Looked:
        """Look at one; any thread may call, and waits.

        Args:
            fd: of the file.
            boxes: sizes of the thumbnails that are wanted, pixels.
            webp: whether as WebP; else as JPEG.
            facts: whether what it says of itself is wanted.
        """
        ...


class Image(NamedTuple):
    """A thumbnail to be sent.

    Attributes:
        data: its bytes.
        media: its MIME type.
        etag: a name for exactly these bytes.
    """

    data: bytes
    media: str
    etag: str


class Seen(NamedTuple):
    """By what it is told whether a file has changed.

    Attributes:
        size: bytes.
        mtime_ns: time of last change, nanoseconds since 1970 UTC.
    """

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, fd: int) -> "Seen":
        """Look at an open file."""
        found = os.fstat(fd)
        return cls(found.st_size, found.st_mtime_ns)


class Wanted(NamedTuple):
    """A thumbnail that has to be made.

    Attributes:
        place: the root.
        path: of the file in it.
        level: which of `BOXES`.
        webp: whether as WebP; else as JPEG.
        digest: of the content, as far as that is known.
        seen: the file of which it is known.
    """

    place: Place
    path: bytes
    level: int
    webp: bool
    digest: str
    seen: Seen

    @property
    def key(self) -> str:
        """What it is cached under."""
        return f"{self.digest}.{self.level}.{'webp' if self.webp else 'jpg'}"


class Thumbs:
    """Answers `thumbnail.icc`.

    Args:
        cache: of thumbnails.
        look: makes them.

    Attributes:
        cache: as given.
        look: as given.
    """

    def __init__(self, cache: ThumbCache, look: Look) -> None:
        self.cache = cache
        self.look = look

    def find(self, call: Call) -> Image | Wanted:
        """Return a thumbnail that is there, or what has to be made.

        Raises:
            LibraryError: there is none, and never will be one.
        """
        level = 1 if call.parameters.optional_integer("level") else 0
        with call.reading() as reading:
            row = reading.file(call.parameters.integer("id"))
            if row.type not in VISIBLE:
                raise LibraryError(WRONG_TYPE)
            found = reading.library.note(row.number)
            status = (found[1].thumb, found[1].screen)[level] if found else 0
            if status == AWAITED:
                raise LibraryError(UPLOAD_AWAITED, _NOT_FOUND)
            if status == FAILED:
                raise LibraryError(NO_THUMBNAIL, _NOT_FOUND)
            if found and status == UPLOADED:
                return self._from_client(reading, row, level)
            wanted = _wanted(reading, row, level, webp=_takes_webp(call.fields.get("accept", "")))
        return self._cached(wanted) or wanted

    def make(self, wanted: Wanted) -> Image:
        """Make a thumbnail and keep it; that it cannot be made is kept, too.

        Raises:
            LibraryError: it cannot be made.
        """
        found = self._cached(wanted)  # perhaps somebody else was faster
        if found is not None:
            return found
        fd = download.open_path(wanted.place, wanted.path)
        try:
            looked = self.look(fd, (BOXES[wanted.level],), webp=wanted.webp, facts=False)
            now = Seen.of(fd)
        finally:
            os.close(fd)
        if now != wanted.seen:  # another content than the one whose digest is known
            wanted = wanted._replace(digest=secrets.token_hex(16))
        if not looked.images:
            if looked.lasting:
                self.cache.put(failure_of(wanted.digest), b"")
            raise LibraryError(NO_THUMBNAIL, _NOT_FOUND if looked.lasting else _NOT_NOW)
        self.cache.put(wanted.key, looked.images[0])
        return _image(wanted, looked.images[0])

    def _cached(self, wanted: Wanted) -> Image | None:
        data = self.cache.get(wanted.key)
        if data:
            return _image(wanted, data)
        if self.cache.get(failure_of(wanted.digest)) is not None:
            raise LibraryError(NO_THUMBNAIL, _NOT_FOUND)
        return None

    def _from_client(self, reading: Reading, row: Row, level: int) -> Image:
        """Return what the client that uploaded a file made for it."""
        place, _ = reading.path(row.number)
        key = next((upload.key for _, upload in reading.library.uploaded(row.number)), None)
        fd = None if key is None else parcels.open_part(place, key, _PARTS[level])
        if fd is None:
            raise LibraryError(UPLOAD_AWAITED, _NOT_FOUND)
        with os.fdopen(fd, "rb") as file:
            data, etag = file.read(parcels.THUMBNAIL_MAX), etag_of(os.fstat(fd))
        media = next((kind for magic, kind in _SNIFFED if data.startswith(magic)), "")
        is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
        return Image(data, media or (_WEBP if is_webp else "application/octet-stream"), etag)


def _wanted(reading: Reading, row: Row, level: int, *, webp: bool) -> Wanted:
    place, path = reading.path(row.number)
    state = reading.node(row.number).state
    if state.content == Content.DONE and state.hash:
        digest = digest_of(state.hash, state.size)
    else:
        told = f"{state.fs} {state.ino} {state.size} {state.mtime_ns} {state.ctime_ns}"
        digest = hashlib.sha256(told.encode()).hexdigest()
    return Wanted(place, path, level, webp, digest, Seen(state.size, state.mtime_ns))


def digest_of(content: bytes, size: int) -> str:
    """Return what thumbnails of a content are cached under."""
    return f"{content.hex()}-{size:x}"


def failure_of(digest: str) -> str:
    """Return what it is cached under that no thumbnail can be made of a content."""
    return f"{digest}.broken"


def _image(wanted: Wanted, data: bytes) -> Image:
    return Image(data, _WEBP if wanted.webp else _JPEG, f'"{wanted.key}"')


def _takes_webp(accept: str) -> bool:
    """Say whether a client takes WebP; with the quality 0 it does not (RFC 9110, 12.5.1)."""
    for each in accept.lower().split(","):
        media, *parameters = (part.strip() for part in each.split(";"))
        if media == _WEBP:
            return not any(_REFUSED.fullmatch(part) for part in parameters)
    return False
