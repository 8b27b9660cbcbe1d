"""Parameters of a request, from JSON, a form or the query, and what they may be."""

import math
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from multipart import (  # type: ignore[import-untyped]  # it has no types
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from api.library.wire import BAD_PARAMETER, LibraryError

BODY_MAX: Final = 2**20
"""Bytes of parameters; the longest memo and every id that a client may send at once."""

_FIELDS_MAX: Final = 100
_IDS_MAX: Final = 10_000
_INT_MAX: Final = 2**53
_SECONDS_MAX: Final = 2**40

NAME_MAX: Final = 99
FILE_NAME_MAX: Final = 100
EXT_MAX: Final = 10
MEMO_MAX: Final = 1024
HELP_MAX: Final = 65_536


class Parameters:
    """What a client sent along.

    Args:
        values: by name.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {k: v for k, v in values.items() if v is not None}

    @classmethod
    def read(cls, query: bytes, media: str, body: bytes) -> "Parameters":
        """Read parameters as Flask does: JSON alone if there is some, else query and form.

        Args:
            query: of the target, without the question mark.
            media: the field Content-Type.
            body: of the request.

        Raises:
            LibraryError: they cannot be read.
        """
        try:
            kind, options = parse_options_header(media)
            if kind == "application/json" or kind.endswith("+json"):
                return cls(msgspec.json.decode(body or b"{}", type=dict[str, Any]))
            found = _pairs(body) if kind == "application/x-www-form-urlencoded" else {}
            if kind == "multipart/form-data":
                found = _form(body, options.get("boundary", ""))
            return cls(found | _pairs(query))
        except (ValueError, msgspec.MsgspecError) as error:
            raise LibraryError(BAD_PARAMETER) from error

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def text(self, name: str, longest: int) -> str:
        """Return a text that must be there.

        Raises:
            LibraryError: it is missing, or too long.
        """
        found = self.optional_text(name, longest)
        if found is None:
            raise LibraryError(BAD_PARAMETER)
        return found

    def optional_text(self, name: str, longest: int) -> str | None:
        """Return a text, or None when it is not there.

        Raises:
            LibraryError: it is too long, or cannot be stored.
        """
        value = self._values.get(name)
        if value is None:
            return None
        text = str(value) if isinstance(value, str | int | float) else ""
        if not isinstance(value, str | int | float) or len(text) > longest:
            raise LibraryError(BAD_PARAMETER)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise LibraryError(BAD_PARAMETER)
        return text

    def integer(self, name: str) -> int:
        """Return a whole number that must be there.

        Raises:
            LibraryError: it is missing, or none.
        """
        found = self.optional_integer(name)
        if found is None:
            raise LibraryError(BAD_PARAMETER)
        return found

    def optional_integer(self, name: str) -> int | None:
        """Return a whole number, or None when it is not there.

        Raises:
            LibraryError: it is none.
        """
        value = self._values.get(name)
        if value is None:
            return None
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise LibraryError(BAD_PARAMETER) from error
        if abs(number) > _INT_MAX:
            raise LibraryError(BAD_PARAMETER)
        return number

    def optional_number(self, name: str) -> float | None:
        """Return a number, or None when it is not there.

        Raises:
            LibraryError: it is none, or not finite.
        """
        value = self._values.get(name)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise LibraryError(BAD_PARAMETER) from error
        if not math.isfinite(number):
            raise LibraryError(BAD_PARAMETER)
        return number

    def optional_time(self, name: str) -> int | None:
        """Return a time, sent as seconds since 1970, in microseconds; None when it is not there.

        Raises:
            LibraryError: it is none.
        """
        seconds = self.optional_number(name)
        if seconds is None:
            return None
        if abs(seconds) > _SECONDS_MAX:
            raise LibraryError(BAD_PARAMETER)
        return round(seconds * 1_000_000)

    def ids(self, name: str) -> list[int] | None:
        """Return numbers that were sent with commas between them; None when they are not there.

        Raises:
            LibraryError: something else was sent.
        """
        value = self._values.get(name)
        if value is None or value == "":
            return None
        try:
            found = [int(part) for part in str(value).split(",") if part.strip()]
        except ValueError as error:
            raise LibraryError(BAD_PARAMETER) from error
        if not found or len(found) > _IDS_MAX or max(map(abs, found)) > _INT_MAX:
            raise LibraryError(BAD_PARAMETER)
        return list(dict.fromkeys(found))

    def needed_ids(self, name: str) -> list[int]:
        """Return numbers as `ids` does, that must be there.

        Raises:
            LibraryError: they are not.
        """
        found = self.ids(name)
        if found is None:
            raise LibraryError(BAD_PARAMETER)
        return found


def _pairs(raw: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    text = raw.decode("utf-8")
    for name, value in parse_qsl(
        text, keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
    ):
        found.setdefault(name, value)
    return found


def _form(body: bytes, boundary: str) -> dict[str, str]:
    """Read the plain fields of a form with parts; files have no business here."""
    found: dict[str, str] = {}
    current: tuple[str, bytearray] | None = None
    with PushMultipartParser(boundary, max_segment_count=_FIELDS_MAX) as parser:
        for event in parser.parse(body):
            if isinstance(event, MultipartSegment):
                current = (event.name, bytearray())
            elif event and current is not None:
                current[1].extend(event)
            elif current is not None:
                found.setdefault(current[0], current[1].decode("utf-8"))
                current = None
    return found
