"""Asks a filesystem over HTTP as fast as it answers, on four connections at once.

It is `python -m tools.bench.spock_load PORT new|kept|put|get SIZE SECONDS`, which prints answers a
second: GETATTR on a new connection each or on kept ones, or SIZE bytes written or read in sequence.
"""

import contextlib
import re
import socket
import sys
import threading
from collections.abc import Callable
from typing import Final

from tools.bench.process import CLOCK
from tools.errors import OperatorError

CONNECTIONS: Final = 4
FILE_BYTES: Final = 2**26
"""The reading and writing goes round in files of this size."""

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)
_GOOD: Final = b"HTTP/1.1 2"


class Line:
    """A connection.

    Args:
        port: of the server on this machine.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray(2**18)

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def ask(self, request: bytes) -> None:
        """Make a request and take the whole answer.

        Raises:
            OperatorError: it was refused.
        """
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = self._socket.recv(2**16)
            if not part:
                raise OperatorError(f"the connection was closed after {answer[:100]!r}")
            answer += part
        head, _, rest = answer.partition(b"\r\n\r\n")
        if not head.startswith(_GOOD):
            raise OperatorError(f"it was refused: {answer[:200]!r}")
        found = _LENGTH.search(head + b"\r\n")
        left = (int(found[1]) if found else 0) - len(rest)
        while left > 0:
            left -= self._socket.recv_into(self._buffer)


def request(method: str, path: str, fields: str = "", body: bytes = b"") -> bytes:
    """Return a request."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}{length}\r\n"
    return head.encode() + body


def load(port: int, operation: str, size: int, duration_seconds: float) -> float:
    """Return how many answers come in a second."""
    counts = [0] * CONNECTIONS
    errors: list[Exception] = []
    until = CLOCK.monotonic() + duration_seconds

    def work(number: int) -> None:
        try:
            counts[number] = _WORK[operation](port, number, size, until)
        except (OSError, OperatorError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    begun = CLOCK.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise OperatorError(str(errors[0]))
    return sum(counts) / (CLOCK.monotonic() - begun)


def _new(port: int, _number: int, _size: int, until: float) -> int:
    asked, count = request("GETATTR", "/load0"), 0
    while CLOCK.monotonic() < until:
        with contextlib.closing(Line(port)) as line:
            line.ask(asked)
        count += 1
    return count


def _kept(port: int, _number: int, _size: int, until: float) -> int:
    asked = request("GETATTR", "/load0")
    return _repeat(port, until, lambda _: asked)


def _put(port: int, number: int, size: int, until: float) -> int:
    body = bytes(size)

    def next_(count: int) -> bytes:
        span = f"Content-Range: {_span(count, size)}\r\n"
        return request("PUT", f"/load{number}", span, body)

    return _repeat(port, until, next_)


def _get(port: int, number: int, size: int, until: float) -> int:
    def next_(count: int) -> bytes:
        return request("GET", f"/load{number}", f"Range: {_span(count, size)}\r\n")

    return _repeat(port, until, next_)


def _span(count: int, size: int) -> str:
    start = count * size % FILE_BYTES
    return f"bytes={start}-{start + size - 1}"


def _repeat(port: int, until: float, next_: Callable[[int], bytes]) -> int:
    count = 0
    with contextlib.closing(Line(port)) as line:
        while CLOCK.monotonic() < until:
            line.ask(next_(count))
            count += 1
    return count


_WORK: Final = {"new": _new, "kept": _kept, "put": _put, "get": _get}


def main(words: list[str]) -> None:
    """Measure and print."""
    port, operation, size, duration_seconds = words
    print(load(int(port), operation, int(size), float(duration_seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
