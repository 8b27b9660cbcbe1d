"""Thumbnails: those that clients made, and those that are made here, on demand or before."""

import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from api.files.conditions import etag_of
from api.library import download, parcels
from api.library.call import FACE, Call, Place, Reading, Service
from api.library.notes import AWAITED, FAILED, UPLOADED
from api.library.thumb_cache import ThumbCache
from api.library.wire import NO_THUMBNAIL, UPLOAD_AWAITED, WRONG_TYPE, LibraryError
from eventlog.events import Content
from eventlog.library import Facts, Part
from projections.library_store import Change
from projections.library_types import FileType
from projections.media import Row

BOXES: Final = (100, 800)
"""Sizes of the levels 0 and 1, pixels."""

_SEEN: Final = (FileType.IMAGE, FileType.GIF, FileType.VIDEO)
_PARTS: Final = (Part.THUMB, Part.SCREEN)
_JPEG, _WEBP = "image/jpeg", "image/webp"
_SNIFFED: Final = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)
_NOT_FOUND: Final = 404


class Looked(NamedTuple):
    """What came of looking at a file.

    Attributes:
        images: a thumbnail for each size; none when there is a problem.
        facts: what it says of itself, without number and hash; None if not wanted, or not known.
        problem: one line; "" when all went well.
    """

    images: Sequence[bytes]
    facts: Facts | None
    problem: str


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
    """Answers `thumbnail.icc`, and looks at new files before anyone asks.

    Args:
        service: what the library is.
        cache: of thumbnails.
        look: makes them.
    """

    def __init__(self, service: Service, cache: ThumbCache, look: Look) -> None:
        self.cache = cache
        self._service = service
        self._look = look

    def find(self, call: Call) -> Image | Wanted:
        """Return a thumbnail that is there, or what has to be made.

        Raises:
            LibraryError: there is none, and never will be one.
        """
        level = 1 if call.parameters.optional_integer("level") else 0
        with call.reading() as reading:
            row = reading.file(call.parameters.integer("id"))
            if row.type not in _SEEN:
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
            looked = self._look(fd, (BOXES[wanted.level],), webp=wanted.webp, facts=False)
            now = Seen.of(fd)
        finally:
            os.close(fd)
        if now != wanted.seen:  # another content than the one whose digest is known
            wanted = wanted._replace(digest=secrets.token_hex(16))
        if not looked.images:
            self.cache.put(_failure(wanted.digest), b"")
            raise LibraryError(NO_THUMBNAIL, _NOT_FOUND)
        self.cache.put(wanted.key, looked.images[0])
        return _image(wanted, looked.images[0])

    def describe_new(self, stopping: Callable[[], bool], limit: int = 100) -> int:
        """Look at files that nobody has looked at since they changed, the newest first.

        Args:
            stopping: asked before each; True ends this early.
            limit: at most so many.

        Returns:
            How many were looked at.
        """
        with self._service.store.reading() as view:
            numbers = view.media.to_do(limit)
        count = 0
        for number in numbers:
            if stopping():
                break
            count += self._describe(number)
        return count

    def _describe(self, number: int) -> bool:
        """Look at a file; return whether there was anything to look at."""
        with self._service.store.reading() as view:
            node = view.tree.node(number)
            chain = view.tree.chain(number)
            row = view.media.row(number)
        if node is None or not chain or not node.state.hash:
            return False
        place = self._service.places.get(chain[0][1].decode("utf-8", "replace"))
        if place is None:
            return False
        digest = _digest(node.state.hash, node.state.size)
        try:
            fd = download.open_path(place, b"/".join(name for _, name in chain[1:]))
        except LibraryError:
            return False
        try:
            boxes = BOXES if row and row.type in _SEEN else ()
            looked = self._look(fd, boxes, webp=False, facts=True)
            if Seen.of(fd) != Seen(node.state.size, node.state.mtime_ns):
                return False  # it is looked at when the log knows that it has changed
        finally:
            os.close(fd)
        for level, image in enumerate(looked.images):
            self.cache.put(f"{digest}.{level}.jpg", image)
        if boxes and not looked.images:
            self.cache.put(_failure(digest), b"")
        facts = looked.facts or Facts(0, b"", problem=looked.problem)
        self._service.store.change(
            lambda change: _store(change, facts, number, node.state.hash), FACE
        )
        return True

    def _cached(self, wanted: Wanted) -> Image | None:
        data = self.cache.get(wanted.key)
        if data:
            return _image(wanted, data)
        if self.cache.get(_failure(wanted.digest)) is not None:
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
        digest = _digest(state.hash, state.size)
    else:
        told = f"{state.fs} {state.ino} {state.size} {state.mtime_ns} {state.ctime_ns}"
        digest = hashlib.sha256(told.encode()).hexdigest()
    return Wanted(place, path, level, webp, digest, Seen(state.size, state.mtime_ns))


def _digest(content: bytes, size: int) -> str:
    return f"{content.hex()}-{size:x}"


def _failure(digest: str) -> str:
    return f"{digest}.failed"


def _image(wanted: Wanted, data: bytes) -> Image:
    return Image(data, _WEBP if wanted.webp else _JPEG, f'"{wanted.key}"')


def _takes_webp(accept: str) -> bool:
    return _WEBP in accept.lower()


def _store(change: Change, facts: Facts, number: int, content: bytes) -> None:
    """Store what a file says, if it is still the one that was looked at."""
    node = change.tree.node(number)
    if node is None or node.state.hash != content:
        return
    known = change.library.facts(number)
    found = msgspec.structs.replace(facts, node=number, hash=content)
    change.put(found, known[0] if known else 0)
