"""A client of streams, on a plain socket."""

import json
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, NamedTuple, Self

from tests.api.support import Server


class Event(NamedTuple):
    name: str
    id: str
    data: Any


class StreamClient:
    """An open stream; `until` reads it.

    Args:
        server: whose.
        target: the request's.
        headers: of the request.
    """

    def __init__(
        self, server: Server, target: str = "/api/v1/changes/stream", **headers: str
    ) -> None:
        self.socket = server.connect()
        fields = "".join(f"{name.replace('_', '-')}: {v}\r\n" for name, v in headers.items())
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n".encode())
        self._file = self.socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers = dict(self._header_lines())
        self._lines = self._unchunked()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def body(self) -> Any:  # noqa: ANN401 - as json.loads
        """Return the JSON of an answer that is no stream."""
        return json.loads(self._file.read(int(self.headers["content-length"])))

    def event(self) -> Event:
        """Return the next server-sent event."""
        fields: dict[str, str] = {}
        while set(fields) <= {"retry"}:
            fields = self._fields()
        return Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))

    def line(self) -> Any:  # noqa: ANN401 - as json.loads
        """Return the next line of JSON."""
        return json.loads(next(self._lines))

    def events_until(self, name: str) -> list[Event]:
        """Return the events up to the first of this name, itself included."""
        found = [self.event()]
        while found[-1].name != name:
            found.append(self.event())
        return found

    def rest(self) -> list[bytes]:
        """Return what comes until the server ends the stream."""
        return list(self._lines)

    def _header_lines(self) -> Iterator[tuple[str, str]]:
        while line := self._file.readline().strip().decode():
            name, _, value = line.partition(": ")
            yield name.lower(), value

    def _unchunked(self) -> Iterator[bytes]:
        """Yield lines, without the frames of the chunked encoding."""
        pending = b""
        while size := int(self._file.readline() or b"0", 16):
            pending += self._file.read(size + 2)[:-2]
            *lines, pending = pending.split(b"\n")
            yield from lines
        assert not pending, pending

    def _fields(self) -> dict[str, str]:
        found = {}
        while line := next(self._lines):
            name, _, value = line.decode().partition(": ")
            found[name] = value
        return found


def shrink_receiving(connection: socket.socket) -> None:
    """Have the kernel take little for this client, so that what it does not read waits behind."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**17)
