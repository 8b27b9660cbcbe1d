"""Every route of the library, in one table: tests of who may do what are made from it."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from api.library import accounts, catalogs, files, shares, trashcan, uploads
from api.library.call import Call, Reply


class Kind(Enum):
    """How a route answers."""

    JSON = "the envelope"
    FILE = "the bytes of a file"
    IMAGE = "a picture"
    UPLOAD = "the envelope, after a body of any size"


class Route(NamedTuple):
    """What is done at a path.

    Attributes:
        methods: that are offered.
        handler: answers; None where the face itself does.
        is_open: whether it answers those who are not logged in.
        writes: whether it changes anything that rights are about.
        kind: how it answers.
    """

    methods: tuple[str, ...]
    handler: Callable[[Call], Reply] | None = None
    is_open: bool = False
    writes: bool = False
    kind: Kind = Kind.JSON


_READ: Final = ("GET",)
_FETCH: Final = ("GET", "HEAD")
_WRITE: Final = ("POST",)

ROUTES: Final[Mapping[str, Route]] = {
    "login": Route(("GET", "POST"), is_open=True),
    "logout": Route(_WRITE, is_open=True),
    "helpInfo": Route(_READ, accounts.get_help),
    "updateHelpInfo": Route(_WRITE, accounts.update_help, writes=True),
    "catalogs": Route(_READ, catalogs.catalogs),
    "createCatalog": Route(_WRITE, catalogs.create, writes=True),
    "deleteCatalog": Route(_WRITE, catalogs.delete, writes=True),
    "updateCatalog": Route(_WRITE, catalogs.update, writes=True),
    "files": Route(_READ, files.files),
    "mediaInfo": Route(_READ, files.media_info),
    "updateFile": Route(_WRITE, files.update, writes=True),
    "deleteFiles": Route(_WRITE, files.delete, writes=True),
    "thumbnail": Route(_FETCH, kind=Kind.IMAGE),
    "downFile": Route(_FETCH, kind=Kind.FILE),
    "shareFileUrl": Route(_READ, shares.share),
    "revokeShare": Route(_WRITE, shares.revoke),
    "shareFile": Route(_FETCH, is_open=True, kind=Kind.FILE),
    "uploadFileInfo": Route(_WRITE, uploads.announce, writes=True),
    "uploadingInfo": Route(_READ, uploads.listed),
    "uploadFile": Route(_WRITE, writes=True, kind=Kind.UPLOAD),
    "trash": Route(_READ, trashcan.listed),
    "restoreTrash": Route(_WRITE, trashcan.restore, writes=True),
    "emptyTrash": Route(_WRITE, trashcan.empty, writes=True),
}
"""By the name before `.icc`. Our own, beside the original's: mediaInfo, revokeShare, trash,
restoreTrash, emptyTrash."""
