"""Which representation of a file a client gets: its plain bytes, or these compressed."""

import os
import re
from collections.abc import Mapping
from typing import Final

_MARK: Final = "-gz-"
_WEIGHT = re.compile(r"q=([0-9](?:\.[0-9]{0,3})?)", re.IGNORECASE)


def takes_gzip(fields: Mapping[str, str]) -> bool:
    """Say whether an answer may be compressed (RFC 9110, 12.5.3).

    A part of a file is a part of its plain bytes, unless If-Range names the compressed ones.

    Args:
        fields: of the request.
    """
    weights = _weights(fields.get("accept-encoding", ""))
    weight = weights.get("gzip", weights.get("x-gzip", 0.0))
    if weight == 0 or weight < weights.get("identity", 0.0):
        return False
    return "range" not in fields or _MARK in fields.get("if-range", "")


def packed_etag(etag: str, found: os.stat_result) -> str:
    """Return the name of the compressed bytes of a file.

    Args:
        etag: of its plain bytes.
        found: of the compressed ones, which may be other bytes when they are made again.
    """
    return f'{etag[:-1]}{_MARK}{found.st_size:x}-{found.st_mtime_ns:x}"'


def plain_etags(text: str) -> str:
    """Return a list of names in which compressed bytes have the names of the plain ones.

    Whoever replaces a file has seen it, in either form.
    """
    return re.sub(_MARK + r'[0-9a-f]+-[0-9a-f]+"', '"', text)


def _weights(text: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for each in text.split(","):
        coding, _, parameter = each.partition(";")
        match = _WEIGHT.fullmatch(parameter.strip())
        weights[coding.strip().lower()] = float(match[1]) if match else 1.0
    return weights
