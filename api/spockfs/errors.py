"""Errors of the system and the statuses of HTTP that stand for them.

Specs 0.1 gives eight statuses a meaning; the client takes all others for EIO. What has none of
these keeps the nearest one, and every refusal names its error in `X-Spock-errno`, for clients that
look there.
"""

import errno
from collections.abc import Mapping
from typing import Final

from api.asgi import Headers

_EIO: Final = 500

STATUS_OF: Final[Mapping[int, int]] = {
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
    errno.EISDIR: 403,
    errno.ENXIO: 403,
    errno.ENOENT: 404,
    errno.ENOTDIR: 404,
    errno.ELOOP: 404,  # a link on the server is never followed; clients follow theirs themselves
    errno.ESTALE: 404,
    errno.ENOSYS: 405,
    errno.EOPNOTSUPP: 405,
    errno.EEXIST: 409,
    errno.ENOTEMPTY: 412,
    errno.ERANGE: 413,
    errno.E2BIG: 413,
    errno.EFBIG: 413,
    errno.ENODATA: 415,
    errno.EINVAL: 400,
    errno.ENAMETOOLONG: 400,
    errno.EXDEV: 422,
    errno.EMLINK: 422,
    errno.EBUSY: 423,
    errno.ETXTBSY: 423,
    errno.EIO: _EIO,
    errno.EMFILE: 503,
    errno.ENFILE: 503,
    errno.ENOMEM: 503,
    errno.EAGAIN: 503,
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
}


class Refusal(Exception):  # noqa: N818 - it is no error of the server
    """A request that is not carried out.

    Args:
        number: what the system calls it, of `errno`.
        detail: a line for people; what the system says when it is empty.
        status: of HTTP, where it is not the usual one of the number.
        fields: of the header, besides the usual ones.

    Attributes:
        name: of the number.
    """

    def __init__(
        self,
        number: int,
        detail: str = "",
        status: int | None = None,
        fields: Headers | None = None,
    ) -> None:
        self.number = number
        # Linux has two names for this number, and errorcode the less usual one.
        name = "EOPNOTSUPP" if number == errno.EOPNOTSUPP else None
        self.name = name or errno.errorcode.get(number, "EIO")
        self.detail = detail
        self.status = STATUS_OF.get(number, _EIO) if status is None else status
        self.fields: Headers = fields or []
        super().__init__(detail or self.name)


def refusal_of(error: OSError) -> Refusal:
    """Return what a client is told of an error of the system."""
    return Refusal(error.errno or errno.EIO, error.strerror or "")
