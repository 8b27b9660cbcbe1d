"""Trees of real files to measure on."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tools.errors import OperatorError

SOURCES = ("/usr/share", "/usr/lib", sys.base_prefix, "/opt", "/usr/include", "/usr/local")
"""Where real files are found, in this order."""

_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK}
"""Another disk, somebody else's file (protected_hardlinks), too many links: copy instead."""


class Tree(NamedTuple):
    """A directory to measure on.

    Attributes:
        path: where it is.
        entries: how many files and directories it holds, itself not counted.
        files: how many of them are regular files.
    """

    path: Path
    entries: int
    files: int


def take(path: Path) -> Tree:
    """Count a tree, which also brings its inodes into the cache."""
    entries = files = 0
    for entry in walk(path):
        entries += 1
        files += entry.is_file(follow_symlinks=False)
        entry.stat(follow_symlinks=False)
    return Tree(path, entries, files)


def walk(path: Path) -> Iterator[os.DirEntry[str]]:
    """Yield every entry below a directory, parents first."""
    pending = [str(path)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)


def mirror(target: Path, count: int, sources: tuple[str, ...] = SOURCES) -> Tree:
    """Make a tree of real files: hard links where that is possible, else copies.

    A link costs no space, but whoever makes or deletes another link to the same file, as a second
    run of the benchmarks does, changes the file. Run one at a time.

    Args:
        target: a directory to be made.
        count: entries wanted.
        sources: directories to take them from.

    Raises:
        OperatorError: there are not so many.
    """
    target.mkdir(parents=True)
    made = 0
    for source in dict.fromkeys(sources):
        if made < count and Path(source).is_dir():
            made += _mirror_one(source, target / source.strip("/").replace("/", "-"), count - made)
    if made < count:
        raise OperatorError(f"found {made} real files only; ask for no more with --entries")
    return take(target)


def _mirror_one(source: str, target: Path, count: int) -> int:
    target.mkdir()
    # Parents come first, so that a directory exists before what is in it.
    made = (
        _mirror_entry(entry, Path(f"{target}{entry.path[len(source) :]}"))
        for entry in walk(Path(source))
    )
    return 1 + sum(islice(filter(None, made), count - 1))


def _mirror_entry(entry: os.DirEntry[str], place: Path) -> bool:
    """Make one entry; leave out what is neither file, directory nor link."""
    if entry.is_symlink():
        place.symlink_to(Path(entry.path).readlink())
    elif entry.is_dir():
        place.mkdir()
    elif entry.is_file():
        _link_or_copy(entry.path, place)
    else:
        return False
    return True


def _link_or_copy(source: str, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target)


def many(target: Path, directories: int, files: int) -> Tree:
    """Make a tree of many empty files, in directories of a thousand.

    Args:
        target: a directory to be made.
        directories: how many directories hold files.
        files: how many files each of them holds.
    """
    for number in range(directories):
        place = target / f"{number // 1000:03}" / f"{number % 1000:03}"
        place.mkdir(parents=True)
        for name in range(files):
            (place / f"{name:03}.txt").touch()
    return take(target)
