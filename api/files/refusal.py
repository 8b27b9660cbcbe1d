"""What the face answers when it does not do what was asked."""

import errno
from collections.abc import Mapping
from typing import Final

from api.served import RootUnavailableError

Fields = tuple[tuple[str, str], ...]
"""Header fields: names and values."""


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """An answer with an error status; the message is the reason, one line for people.

    Args:
        status: of HTTP.
        reason: without paths of the server.
        fields: of the header, beside those that all answers have.
    """

    def __init__(self, status: int, reason: str, fields: Fields = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.fields = fields


_BY_ERRNO: Final[Mapping[int, tuple[int, str]]] = {
    errno.ENOENT: (404, "there is no such file"),
    errno.ENOTDIR: (409, "a file is where a directory is needed"),
    errno.EISDIR: (409, "a directory has this name"),
    errno.EEXIST: (409, "something else has this name"),
    errno.ELOOP: (409, "a symbolic link is in the way; links are not followed"),
    errno.ENAMETOOLONG: (400, "the name is too long"),
    errno.EINVAL: (400, "the filesystem does not take this name"),
    errno.EILSEQ: (400, "the filesystem does not take this name"),
    errno.EACCES: (403, "the server may not do that there"),
    errno.EPERM: (403, "the server may not do that there"),
    errno.EXDEV: (409, "a directory of the same disk is mounted here; nothing can be stored in it"),
    errno.EROFS: (403, "the disk is read-only"),
    errno.EFBIG: (413, "the filesystem takes no file this large"),
    errno.ENOSPC: (507, "the disk is full"),
    errno.EDQUOT: (507, "the quota of the disk is used up"),
    errno.EMFILE: (503, "too many files are open; try again"),
    errno.ENFILE: (503, "too many files are open; try again"),
}


def refusal_of(error: OSError | RootUnavailableError) -> Refusal | None:
    """Return what an error of the disk means to a client; None when it is a fault of the server."""
    if isinstance(error, RootUnavailableError):
        return Refusal(503, "the disk is not there now", (("retry-after", "5"),))
    found = _BY_ERRNO.get(error.errno or 0)
    return Refusal(*found) if found else None
