"""Takes an upload in: unpacks it, measures it, and says whether it is what it claims to be.

Nothing that a client says of its bytes is believed: the server's own digest of what it wrote is
compared with what was claimed.
"""

import hashlib
import os
import re
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from api.files.refusal import Refusal

UNDECLARED_MAX: Final = 2**30
"""Bytes that a compressed upload may expand to when it does not say how many they will be."""

_PIECE: Final = 2**20
_GZIP: Final = 31
"""Window bits that have zlib read and check the gzip format (zlib's manual, inflateInit2)."""

_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class Claims(NamedTuple):
    """What a client says of an upload.

    Attributes:
        is_gzip: the body is compressed.
        digest: SHA-256 of the file, hexadecimal, or None.
        size: bytes of the file, or None.
        length: bytes of the body, or None.
    """

    is_gzip: bool = False
    digest: str | None = None
    size: int | None = None
    length: int | None = None

    @classmethod
    def read(cls, fields: Mapping[str, str], size_max: int | None) -> Self:
        """Read the header of an upload.

        Args:
            fields: of the request.
            size_max: the largest file that is taken, bytes.

        Raises:
            Refusal: a field is malformed, or says at once that the file is too large.
        """
        coding = fields.get("content-encoding", "identity").strip().lower()
        if coding not in ("gzip", "x-gzip", "identity", ""):
            raise Refusal(415, "only gzip is understood in Content-Encoding")
        if "content-range" in fields:
            raise Refusal(400, "a file is put whole: Content-Range is not understood")
        digest = fields.get("sha256-checksum")
        if digest is not None and not _DIGEST.fullmatch(digest):
            raise Refusal(400, "SHA256-Checksum must be 64 hexadecimal digits")
        size, length = _number(fields, "logical-size"), _number(fields, "content-length")
        is_gzip = "gzip" in coding
        if size_max is not None and max(size or 0, 0 if is_gzip else length or 0) > size_max:
            raise _too_large(size_max)
        return cls(is_gzip, digest.lower() if digest else None, size, length)


class Intake:
    """Writes the bytes of one upload.

    Args:
        fd: where to.
        claims: what was said of them.
        size_max: the largest file that is taken, bytes; None for any.
        undeclared_max: the largest one that is compressed and does not say how large it is.
    """

    def __init__(
        self,
        fd: int,
        claims: Claims,
        size_max: int | None,
        undeclared_max: int | None = UNDECLARED_MAX,
    ) -> None:
        self.size = 0
        self._fd = fd
        self._claims = claims
        self._size_max = size_max
        declared = not claims.is_gzip or claims.size is not None
        self._undeclared_max = None if declared else undeclared_max
        self._hash = hashlib.sha256()
        self._inflater = zlib.decompressobj(_GZIP) if claims.is_gzip else None

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            Refusal: it is broken, too large, or more than was said.
            OSError: it cannot be written.
        """
        if self._inflater is None:
            self._write(data)
        else:
            self._inflate(data)

    def finish(self) -> str:
        """Compare what was written with what was claimed.

        Returns:
            The digest of what was written: SHA-256, hexadecimal.

        Raises:
            Refusal: it is something else, or not all of it.
        """
        if self._inflater is not None and not self._inflater.eof:
            raise Refusal(422, "the gzip stream is cut short")
        if self._claims.size is not None and self.size != self._claims.size:
            raise Refusal(422, f"the file has {self.size} bytes, not those of Logical-Size")
        digest = self._hash.hexdigest()
        if self._claims.digest is not None and digest != self._claims.digest:
            raise Refusal(422, "the file is not the one of SHA256-Checksum")
        return digest

    def _inflate(self, data: bytes) -> None:
        assert self._inflater is not None
        while True:
            if self._inflater.eof:  # another member may follow, or zeros (RFC 1952, 2.2)
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inflater = zlib.decompressobj(_GZIP)
            try:
                out = self._inflater.decompress(data, _PIECE)
            except zlib.error as error:
                raise Refusal(422, "the gzip stream is damaged") from error
            self._write(out)
            data = self._inflater.unused_data or self._inflater.unconsumed_tail
            if not data and len(out) < _PIECE and not self._inflater.eof:
                return

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        self._check_size()
        self._hash.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    def _check_size(self) -> None:
        if self._claims.size is not None and self.size > self._claims.size:
            raise Refusal(422, "the file has more bytes than Logical-Size says")
        if self._size_max is not None and self.size > self._size_max:
            raise _too_large(self._size_max)
        if self._undeclared_max is not None and self.size > self._undeclared_max:
            raise Refusal(413, "a compressed file this large must come with its Logical-Size")


def _too_large(size_max: int) -> Refusal:
    return Refusal(413, f"files of more than {size_max} bytes are not taken here")


def _number(fields: Mapping[str, str], name: str) -> int | None:
    text = fields.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text.strip()):
        raise Refusal(400, f"{name} is no number of bytes")
    return int(text)
