"""Looks after what is kept: removes what is too old, counts, and proves that all is right.

Everything here works beside a running server. Contents are removed only by whoever holds the lock
that keepers share, and only when nobody has used them for a while.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from api.beneath.root import Beneath
from api.beneath.staging import STAGING
from api.filetracker.digests import digest_of
from api.filetracker.keep import BLOBS, PATH_FILE, PATHS, Keeper, Kept, blob_of, parse_kept
from api.filetracker.packed import PACKED

YOUNG_US: Final = 3_600 * 10**6
"""A content that was used within this time is not removed, as a version of it may be on its way."""

DAY_US: Final = 86_400 * 10**6

_HEXADECIMAL: Final = "0123456789abcdef"


class Collected(NamedTuple):
    """What a collection removed.

    Attributes:
        versions: that were too old.
        contents: that no version has any more.
        size: bytes of these contents.
    """

    versions: int
    contents: int
    size: int


class Note(NamedTuple):
    """A version as it is noted.

    Attributes:
        directory: of the path that it is of, relative to the root.
        kept: the version.
    """

    directory: bytes
    kept: Kept


def collect(
    beneath: Beneath,
    keeper: Keeper,
    now_us: int,
    keep_days: float | None,
    stopping: Callable[[], bool] = lambda: False,
) -> Collected:
    """Remove versions that are too old, and contents that no version has.

    Args:
        beneath: the root.
        keeper: of its versions.
        now_us: the time of day, microseconds since 1970.
        keep_days: how long versions are kept; None for ever.
        stopping: asked now and then; True ends this early.

    Returns:
        What was removed.

    Raises:
        OSError: the disk is in trouble.
    """
    versions = contents = size = 0
    if keep_days is not None:
        versions = _expire(beneath, now_us - int(keep_days * DAY_US))
    _forget_paths(beneath, keeper)
    # In sixteen parts, so that memory does not grow with what is kept.
    for digit in _HEXADECIMAL:
        if stopping():
            break
        used = {n.kept.digest for n in notes(beneath) if n.kept.digest.startswith(digit)}
        for digest, found in blobs(beneath):
            if not digest.startswith(digit) or digest in used:
                continue
            with keeper.collecting():
                if _remove(beneath, digest, now_us - YOUNG_US):
                    contents += 1
                    size += found.st_size
    return Collected(versions, contents, size)


def check(beneath: Beneath) -> Iterator[str]:
    """Prove that every version has its content, and every content its digest.

    Yields:
        A line for each that is wrong.

    Raises:
        OSError: the disk is in trouble.
    """
    for note in notes(beneath):
        problem = _problem_of(beneath, note.kept)
        if problem:
            path = _path_of(beneath, note.directory)
            yield f"{os.fsdecode(path)!r}, version {note.kept.version}: {problem}"
    for digest, _ in blobs(beneath):
        fd = beneath.open(blob_of(digest), os.O_RDONLY)
        try:
            if digest_of(fd) != digest:
                yield f"content {digest}: its bytes have changed"
        finally:
            os.close(fd)


def usage(beneath: Beneath) -> int:
    """Return the bytes of all files of the root and of what is kept of them.

    Compressed contents do not count, as they have a limit of their own; nor does what is just
    being uploaded, which counts when it gets its place.
    """
    total, waiting = 0, [b""]
    while waiting:
        path = waiting.pop()
        for name, found, is_directory in _entries(beneath, path):
            below = path + b"/" + name if path else name
            if is_directory and below not in (PACKED, STAGING):
                waiting.append(below)
            elif not is_directory:
                total += found.st_size
    return total


def notes(beneath: Beneath) -> Iterator[Note]:
    """Yield all versions that are noted."""
    for directory in _directories(beneath):
        for kept in filter(None, map(parse_kept, _names(beneath, directory))):
            yield Note(directory, kept)


def blobs(beneath: Beneath) -> Iterator[tuple[str, os.stat_result]]:
    """Yield digest and facts of all contents that are kept."""
    for above in _names(beneath, BLOBS):
        for name, found, is_directory in _entries(beneath, BLOBS + b"/" + above):
            if not is_directory:
                yield name.decode("ascii", "replace"), found


def _directories(beneath: Beneath) -> Iterator[bytes]:
    """Yield the directories of the paths that have versions, or had some."""
    for above in _names(beneath, PATHS):
        for name in _names(beneath, PATHS + b"/" + above):
            yield b"%b/%b/%b" % (PATHS, above, name)


def _forget_paths(beneath: Beneath, keeper: Keeper) -> None:
    """Remove the directories of paths that have no version any more."""
    for directory in _directories(beneath):
        if _is_bare(beneath, directory):
            with keeper.collecting():  # so that nobody adds one meanwhile
                if _is_bare(beneath, directory):
                    _remove_bare(beneath, directory)


def _is_bare(beneath: Beneath, directory: bytes) -> bool:
    return all(name == PATH_FILE for name in _names(beneath, directory))


def _remove_bare(beneath: Beneath, directory: bytes) -> None:
    with contextlib.suppress(FileNotFoundError), beneath.entry(directory) as entry:
        with contextlib.suppress(FileNotFoundError), beneath.directory(directory) as fd:
            os.unlink(PATH_FILE, dir_fd=fd)
        os.rmdir(entry.name, dir_fd=entry.directory)


def _expire(beneath: Beneath, before_us: int) -> int:
    count = 0
    for note in notes(beneath):
        if note.kept.kept_us < before_us:
            with contextlib.suppress(FileNotFoundError):
                with beneath.entry(note.directory + b"/" + note.kept.name) as entry:
                    os.unlink(entry.name, dir_fd=entry.directory)
                count += 1
    return count


def _remove(beneath: Beneath, digest: str, before_us: int) -> bool:
    """Remove a content, unless somebody used it since; returns whether it was removed."""
    with contextlib.suppress(FileNotFoundError), beneath.entry(blob_of(digest)) as entry:
        found = os.lstat(entry.name, dir_fd=entry.directory)
        if found.st_ctime_ns // 1000 < before_us:
            os.unlink(entry.name, dir_fd=entry.directory)
            return True
    return False


def _problem_of(beneath: Beneath, kept: Kept) -> str:
    try:
        found = beneath.stat(blob_of(kept.digest))
    except FileNotFoundError:
        return "its content is missing"
    return "" if found.st_size == kept.size else "its content has another size"


def _path_of(beneath: Beneath, directory: bytes) -> bytes:
    try:
        fd = beneath.open(directory + b"/" + PATH_FILE, os.O_RDONLY)
    except FileNotFoundError:
        return directory
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _names(beneath: Beneath, path: bytes) -> list[bytes]:
    return [name for name, _, _ in _entries(beneath, path)]


def _entries(beneath: Beneath, path: bytes) -> Iterator[tuple[bytes, os.stat_result, bool]]:
    """Yield name and facts of what is in a directory, and whether it is one; none if it is gone."""
    try:
        with beneath.directory(path) as fd, os.scandir(fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield os.fsencode(entry.name), found, entry.is_dir(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return
