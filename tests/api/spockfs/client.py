"""A client made from Specs 0.1 alone: it writes requests byte by byte, so that none is mended."""

import base64
import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote_from_bytes

DEADLINE_SECONDS = 60

LEAVE = 2**32 - 1


class Reply(NamedTuple):
    status: int
    fields: dict[str, str]
    body: bytes

    def number(self, name: str) -> int:
        """Return an X-Spock- field."""
        return int(self.fields[f"x-spock-{name}"])

    @property
    def errno(self) -> str:
        return self.fields["x-spock-errno"]

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.errno


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def encode(path: str | bytes) -> bytes:
    raw = path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path
    return quote_from_bytes(raw).encode()


def message(
    method: str,
    target: bytes,
    body: bytes = b"",
    fields: dict[str, str | bytes | int] | None = None,
) -> bytes:
    """Return a request; a value that is bytes is sent as it is."""
    lines = [b"%b %b HTTP/1.1" % (method.encode(), target), b"Host: localhost"]
    for name, value in (fields or {}).items():
        raw = value if isinstance(value, bytes) else str(value).encode()
        lines.append(name.replace("_", "-").encode() + b": " + raw)
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


class Line:
    """One connection, kept open."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_SECONDS)
        self._file = self.socket.makefile("rb")

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, *, has_body: bool = True) -> Reply:
        """Read one answer, to its last byte and no further."""
        first = self._file.readline()
        found = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n", first)
        assert found, first
        fields: dict[str, str] = {}
        while (line := self._file.readline()) != b"\r\n":
            # Exactly one blank after the colon: the reference client counts on it.
            name, value = re.fullmatch(rb"([^:\s]+): (\S[^\r\n]*)?\r\n", line).groups()  # type: ignore[union-attr]  # a test that fails here should say so
            assert name.lower().decode() not in fields
            fields[name.lower().decode()] = (value or b"").decode("latin-1")
        length = int(fields["content-length"]) if has_body else 0
        return Reply(int(found[1]), fields, self._file.read(length))

    def ask(
        self, method: str, path: str | bytes, body: bytes = b"", **fields: str | bytes | int
    ) -> Reply:
        self.send(message(method, encode(path), body, fields))
        return self.read(has_body=method != "HEAD")


class Client:
    """Does what the specification says, one connection for each request as the reference client.

    Args:
        port: of the server.
        fields: sent with every request.
    """

    def __init__(self, port: Callable[[], int], fields: dict[str, str] | None = None) -> None:
        self._port = port
        self._fields = fields or {}

    @contextlib.contextmanager
    def line(self) -> Iterator[Line]:
        line = Line(self._port())
        try:
            yield line
        finally:
            line.close()

    def ask(
        self, method: str, path: str | bytes, body: bytes = b"", **fields: str | bytes | int
    ) -> Reply:
        with self.line() as line:
            return line.ask(method, path, body, **self._fields, **fields)

    def raw(self, method: str, target: bytes, **fields: str | bytes | int) -> Reply:
        """Ask for a target that is not encoded."""
        with self.line() as line:
            line.send(message(method, target, b"", {**self._fields, **fields}))
            return line.read()

    def names(self, path: str = "/") -> list[bytes]:
        reply = self.ask("READDIR", path)
        assert reply.status == 200, reply
        lines = reply.body.split(b"\n")
        assert lines.pop() == b""
        assert lines[:2] == [b".", b".."]
        return sorted(lines[2:])

    def put(self, path: str | bytes, data: bytes, start: int = 0, **fields: str | int) -> Reply:
        span = f"bytes={start}-{start + len(data) - 1}"
        return self.ask("PUT", path, data, Content_Range=span, **fields)

    def get(self, path: str | bytes, first: int = 0, last: int = 4095) -> Reply:
        return self.ask("GET", path, Range=f"bytes={first}-{last}")

    def create(self, path: str | bytes, mode: int = 0o100644) -> Reply:
        return self.ask("POST", path, X_Spock_mode=mode)

    def make(self, path: str | bytes, data: bytes) -> None:
        assert self.create(path).status == 201
        if data:
            assert self.put(path, data).status == 200
