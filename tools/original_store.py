"""Takes over what an original Filetracker server has stored.

It keeps every content as a gzip file in `blobs/ab/abcd…`, named by the SHA-256 of what is in it,
and for every file a symbolic link in `links/…` whose own time of last change is the version (see
`filetracker/servers/storage.py` of its version 2.3).
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from api.beneath.root import Beneath
from api.beneath.staging import Staging
from api.files.dates import SECOND_NS, version_of
from api.filetracker.intake import Claims, Intake
from api.filetracker.marks import mark
from api.filetracker.request import check_path

_DIGEST = re.compile(rb"[0-9a-f]{64}")
_PIECE: Final = 2**20


class Stored(NamedTuple):
    """A file of an original server.

    Attributes:
        path: relative, raw.
        version: seconds since 1970.
        digest: SHA-256 of its content, hexadecimal, as the server believes.
    """

    path: bytes
    version: int
    digest: str


def files(top: Path) -> Iterator[Stored]:
    """Yield the files of an original server's directory.

    Raises:
        OSError: it cannot be read.
    """
    links = os.fsencode(top / "links")
    for directory, _, names in os.walk(links):
        for name in names:
            link = os.path.join(directory, name)  # noqa: PTH118 - bytes
            found = os.lstat(link)
            if not stat.S_ISLNK(found.st_mode):
                continue
            digest = os.readlink(link).rpartition(b"/")[2]  # noqa: PTH115 - bytes
            if _DIGEST.fullmatch(digest):
                path = as_asked_for(os.path.relpath(link, links))
                yield Stored(path, version_of(found), digest.decode())


def as_asked_for(path: bytes) -> bytes:
    """Return the path that clients know a file by.

    Under Python 3 the original takes a path as WSGI hands it over, every byte a character
    (PEP 3333), and has that encoded once more on the disk: `é` is there as `Ã©`. Under Python 2 it
    was there as it is. What makes sense only as the one is taken for the one.

    Args:
        path: as it is on the disk, raw.
    """
    try:
        once = path.decode().encode("latin-1")
        once.decode()
    except UnicodeError:
        return path
    return once


def take(top: Path, stored: Stored, beneath: Beneath, staging: Staging) -> bool:
    """Copy a file, with its version, unless one of that version or a newer one is there.

    Args:
        top: the original server's directory.
        stored: the file.
        beneath: where to.
        staging: of the same.

    Returns:
        Whether it was copied.

    Raises:
        Refusal: its content is not what its digest says, or its path cannot be.
        OSError: it cannot be read, or not be written.
    """
    check_path(stored.path)
    if _is_there(beneath, stored):
        return False
    blob = top / "blobs" / stored.digest[:2] / stored.digest
    with staging.new_file(stored.path) as new, blob.open("rb") as source:
        claims = Claims(is_gzip=True, digest=stored.digest)
        intake = Intake(new.fd, claims, None, undeclared_max=None)
        while piece := source.read(_PIECE):
            intake.feed(piece)
        mark(new.fd, intake.finish(), stored.version * SECOND_NS)
        new.finish(stored.version * SECOND_NS)
        above = stored.path.rpartition(b"/")[0]
        beneath.make_directories(above)
        with beneath.entry(stored.path) as entry:
            new.place(entry.directory, entry.name)
        beneath.sync(above)
    return True


def _is_there(beneath: Beneath, stored: Stored) -> bool:
    try:
        return version_of(beneath.stat(stored.path)) >= stored.version
    except FileNotFoundError:
        return False
