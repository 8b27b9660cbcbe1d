"""Puts and gets files as fast as a file store answers, on eight connections at once.

It is `python -m tools.bench.store_load PORT get|put SIZE SECONDS`, which prints answers a second.
Bodies are compressed and described as the real client does it.
"""

import asyncio
import contextlib
import gzip
import hashlib
import http.client
import os
import re
import sys
from email.utils import formatdate
from functools import partial
from typing import Final
from urllib.parse import urlencode

from tools.errors import OperatorError

CONNECTIONS: Final = 8
WARM_SECONDS: Final = 0.5
_QUERY: Final = urlencode({"last_modified": formatdate(1_700_000_000)})

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)


def is_up(port: int) -> bool:
    """Say whether a store answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", "/version/")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def put_request(port: int, path: str, content: bytes) -> bytes:
    """Return a request as the real client would make it."""
    body = gzip.compress(content, 1)
    head = (
        f"PUT /files/{path}?{_QUERY} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Encoding: gzip\r\nLogical-Size: {len(content)}\r\n"
        f"SHA256-Checksum: {hashlib.sha256(content).hexdigest()}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Asker(asyncio.Protocol):
    """Asks again as soon as it was answered."""

    def __init__(self, number: int, port: int, operation: str, size: int) -> None:
        self.answers = 0
        self.refusal = b""
        self._number = number
        self._port = port
        self._operation = operation
        self._size = size
        self._asked = 0
        self._head = b""
        self._missing = -1
        self._stopped = False
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        if self._missing < 0:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self.refusal = head
                return
            self._missing = _body_length(head + b"\r\n") - len(rest)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self.answers += 1
            self._ask()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._stopped:
            self._again = asyncio.get_running_loop().create_task(_connect(self, self._port))

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        if self._transport is not None:
            self._transport.close()

    def _ask(self) -> None:
        assert self._transport is not None
        self._asked += 1
        self._head, self._missing = b"", -1
        if self._operation == "get":
            line = f"GET /files/load HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n\r\n"
            self._transport.write(line.encode())
        else:
            content = (b"%08d%08d" % (self._number, self._asked)) * (self._size // 16)
            path = f"load/{self._number}/{self._asked}"
            self._transport.write(put_request(self._port, path, content))


def _body_length(head: bytes) -> int:
    if found := _LENGTH.search(head):
        return int(found[1])
    return len(b"0\r\n\r\n") if _CHUNKED.search(head) else 0


def _same(asker: _Asker) -> _Asker:
    return asker


async def _connect(asker: _Asker, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_connection(partial(_same, asker), "127.0.0.1", port)


async def _load(port: int, operation: str, size: int, duration_seconds: float) -> float:
    askers = [_Asker(number, port, operation, size) for number in range(CONNECTIONS)]
    for asker in askers:
        await _connect(asker, port)
    await asyncio.sleep(WARM_SECONDS)
    before = sum(asker.answers for asker in askers)
    await asyncio.sleep(duration_seconds)
    after = sum(asker.answers for asker in askers)
    for asker in askers:
        asker.stop()
    await asyncio.sleep(0)  # the connections are closed in the loop's next round
    if refusals := [asker.refusal for asker in askers if asker.refusal]:
        raise OperatorError(f"it was refused: {refusals[0][:200]!r}")
    return (after - before) / duration_seconds


def _store_one(port: int, size: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    content = os.urandom(size)
    with contextlib.closing(connection):
        connection.request("PUT", f"/files/load?{_QUERY}", content)
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise OperatorError(f"it was refused: {answer.status}")


def main(words: list[str]) -> None:
    """Measure and print."""
    port, operation, size, duration_seconds = words
    if operation == "get":
        _store_one(int(port), int(size))
    print(asyncio.run(_load(int(port), operation, int(size), float(duration_seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
