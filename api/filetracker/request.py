"""A request to the face, read from the raw bytes of its target."""

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from api.asgi import Scope
from api.beneath.paths import BadPathError, split
from api.beneath.staging import OWN
from api.files.refusal import Refusal

_PARAMETERS_MAX: Final = 16


class Request(NamedTuple):
    """What a client asks.

    Attributes:
        method: of HTTP.
        endpoint: files, list, version or versions, or something unknown.
        path: of the file or directory, relative and raw; may be empty.
        query: the parameters; of one that is given again, the first.
        fields: of the header, names in lower case; values of one that is there again are joined.
    """

    method: str
    endpoint: bytes
    path: bytes
    query: dict[str, str]
    fields: dict[str, str]


def concerns(raw_path: bytes, prefix: bytes) -> bool:
    """Say whether a request is for this face.

    Args:
        raw_path: of the target, still encoded.
        prefix: under which the face is served, without a slash at its end; may be empty.
    """
    if not raw_path.startswith(prefix):
        return False
    rest = raw_path[len(prefix) :]
    if prefix:
        return not rest or rest.startswith(b"/")
    first = rest.lstrip(b"/").partition(b"/")[0]
    # A path that a client forgot to begin with a slash: `/listC` must be an error of this face.
    return first.startswith((b"files", b"list", b"version"))


def read(scope: Scope, prefix: bytes) -> Request:
    """Read a request.

    Args:
        scope: of ASGI; its `raw_path` is the encoded target.
        prefix: as in `concerns`.

    Raises:
        Refusal: it names a path that cannot be.
    """
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        fields[key] = f"{fields[key]}, {text}" if key in fields else text
    target = scope["raw_path"][len(prefix) :].lstrip(b"/")
    endpoint, _, encoded = target.partition(b"/")
    path = unquote_to_bytes(encoded).lstrip(b"/").removesuffix(b"/")
    check_path(path)
    return Request(scope["method"], endpoint, path, _query(scope["query_string"]), fields)


def check_path(path: bytes) -> None:
    """Refuse a path that no client may name.

    Raises:
        Refusal: with the reason.
    """
    try:
        names = split(path)
    except BadPathError as error:
        raise Refusal(400, str(error)) from error
    if OWN in names:
        raise Refusal(403, "this name belongs to the server itself")


def _query(raw: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(raw.decode("latin-1"), max_num_fields=_PARAMETERS_MAX)
    except ValueError as error:
        raise Refusal(400, "too many parameters") from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found
