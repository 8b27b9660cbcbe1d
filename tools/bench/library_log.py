"""Makes the log of a large media library: files in catalogs, of every type, in every order."""

import stat
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from api.library.passwords import hash_password
from eventlog.events import Content, Created, State
from eventlog.library import Note, NoteChanged, Right, User, UserChanged
from eventlog.log import Draft, Log
from projections.replay import LIBRARY_FOLDS
from tools.bench.library_client import NAME, PASSWORD
from tools.observing import READY_KEY

BATCH: Final = 5_000
ROOTS: Final = ("family", "archive")
_IN_CATALOG: Final = 500
"""Files of a catalog, but of one in each root that holds a quarter of all."""

_FLAT: Final = 4
_TYPES: Final = (
    *(("jpg", "image/jpeg"),) * 13,
    *(("mp4", "video/mp4"),) * 4,
    *(("gif", "image/gif"), ("mp3", "audio/mpeg"), ("pdf", "application/pdf")),
)
_SIZES: Final = ((4000, 3000), (3000, 4000), (1920, 1080), (640, 480))
_BEGUN_NS: Final = 1_262_304_000 * 10**9
_YEARS_NS: Final = 15 * 365 * 86_400 * 10**9
_CACHE_KIB: Final = 2**21
_NOTED: Final = 3
"""Every third file was uploaded."""


def make(database: str, files: int) -> None:
    """Make a log in which somebody has files in two roots.

    Args:
        database: path of the file.
        files: how many.
    """
    log = begin(database, ROOTS)
    # What is not in memory is read and written again for each file; this is not measured.
    log.call(lambda tx: tx.connection.pragma("cache_size", -_CACHE_KIB))
    try:
        random, user = Random(1), log.head  # noqa: S311 - the same library each time
        first = log.append([Draft(0, Created("", _root(name))) for name in ROOTS])
        for nth in range(len(ROOTS)):
            _fill(log, first + nth, files // len(ROOTS), user, random)
        log.call(lambda tx: tx.set_meta(READY_KEY, "1"))
    finally:
        log.close()


def begin(database: str, roots: Sequence[str]) -> Log:
    """Make a log that knows somebody, and nothing else.

    Args:
        database: path of the file.
        roots: names of those that this user may change.

    Returns:
        The open log; its only event is that of the user.
    """
    log = Log(database, LIBRARY_FOLDS)
    rights = tuple(Right(name, write=True) for name in roots)
    log.append([Draft(0, UserChanged("", User(NAME, hash_password(PASSWORD), rights, 0, 0)))])
    return log


def _fill(log: Log, root: int, files: int, user: int, random: Random) -> None:
    catalogs = 2 + files // _IN_CATALOG
    flat = log.append([Draft(0, Created("", _directory(root, nth))) for nth in range(catalogs)])
    for begin in range(0, files, BATCH):
        drafts = []
        for nth in range(begin, min(begin + BATCH, files)):
            parent = flat if nth % _FLAT == 0 else flat + 1 + nth // _IN_CATALOG
            drafts.append(Draft(0, Created("", _file(parent, nth, random))))
        number = log.append(drafts)
        log.append(list(_notes(range(number, number + len(drafts)), user, random)))


def _notes(numbers: range, user: int, random: Random) -> Iterator[Draft]:
    """Say of some files what clients say when they upload them."""
    for number in numbers[::_NOTED]:
        width, height = random.choice(_SIZES)
        note = Note(
            number,
            uploader=user,
            uploaded_us=(_BEGUN_NS + random.randrange(_YEARS_NS)) // 1000,
            duration_ms=random.randrange(600_000),
            width=width,
            height=height,
        )
        yield Draft(0, NoteChanged("", note))


def _root(name: str) -> State:
    mode = stat.S_IFDIR | 0o755
    return State(0, name.encode(), mode, 0, 1, 1, 7, 2, 0, 0, 0, target=b"/mnt/media")


def _directory(parent: int, nth: int) -> State:
    mode = stat.S_IFDIR | 0o755
    return State(parent, b"%05d" % nth, mode, 0, 1, 1, 7, parent * 10**7 + nth, 0, 0, 0)


def _file(parent: int, nth: int, random: Random) -> State:
    ending, mime = random.choice(_TYPES)
    mtime_ns = _BEGUN_NS + random.randrange(_YEARS_NS)
    return State(
        parent=parent,
        name=b"IMG_%07d.%b" % (nth, ending.encode()),
        mode=stat.S_IFREG | 0o644,
        size=random.randrange(10_000_000),
        mtime_ns=mtime_ns,
        ctime_ns=mtime_ns,
        fs=7,
        ino=10**9 + parent * 10**7 + nth,
        uid=1000,
        gid=1000,
        nlink=1,
        content=Content.DONE,
        hash=random.randbytes(16),
        mime=mime,
    )
