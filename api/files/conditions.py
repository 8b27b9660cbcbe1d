"""Conditional requests (RFC 9110, 13): which of them hold for a file as it is."""

import os
from collections.abc import Mapping

from api.files.codings import plain_etags
from api.files.dates import parse_date
from api.files.refusal import Refusal


def etag_of(found: os.stat_result) -> str:
    """Return a name for exactly these bytes: it changes with every write, whoever writes."""
    numbers = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return '"' + "-".join(f"{number:x}" for number in numbers) + '"'


def check_write(fields: Mapping[str, str], found: os.stat_result | None) -> None:
    """Refuse a change whose conditions do not hold.

    Args:
        fields: of the request.
        found: the file that is there, None when there is none.

    Raises:
        Refusal: 412.
    """
    etag = None if found is None else etag_of(found)
    if "if-match" in fields and not _lists(plain_etags(fields["if-match"]), etag, weak=False):
        raise Refusal(412, "the file is not the one of If-Match")
    if "if-none-match" in fields and _lists(plain_etags(fields["if-none-match"]), etag, weak=True):
        raise Refusal(412, "the file is the one of If-None-Match")


def check_read(fields: Mapping[str, str], etag: str, version: int) -> bool:
    """Say whether a client has the file already, in the order of RFC 9110, 13.2.2.

    Args:
        fields: of the request.
        etag: of what would be sent.
        version: of what would be sent, seconds since 1970.

    Returns:
        Whether to answer 304.

    Raises:
        Refusal: 412.
    """
    if "if-match" in fields:
        if not _lists(fields["if-match"], etag, weak=False):
            raise Refusal(412, "the file is not the one of If-Match")
    elif (date := parse_date(fields.get("if-unmodified-since", ""))) is not None and version > date:
        raise Refusal(412, "the file has changed since")
    if "if-none-match" in fields:
        return _lists(fields["if-none-match"], etag, weak=True)
    date = parse_date(fields.get("if-modified-since", ""))
    return date is not None and version <= date


def range_holds(fields: Mapping[str, str], etag: str, version: int) -> bool:
    """Say whether a Range field is to be heeded: If-Range names what would be sent.

    Args:
        fields: of the request.
        etag: of what would be sent.
        version: of what would be sent, seconds since 1970.
    """
    wanted = fields.get("if-range")
    if wanted is None:
        return True
    if wanted.startswith('"'):
        return wanted.strip() == etag
    return parse_date(wanted) == version


def _lists(value: str, etag: str | None, *, weak: bool) -> bool:
    """Say whether a list of entity tags has one; `*` stands for any that there is."""
    if etag is None:
        return False
    if value.strip() == "*":
        return True
    tags = (tag.strip() for tag in value.split(","))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)
