"""The smallest client that can ask a feed; the same for every server that is measured."""

import re
import socket
from http import HTTPStatus

from tools.errors import OperatorError

OK = HTTPStatus.OK
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RECEIVE_BYTES = 2**18


class Connection:
    """One connection that is kept open.

    Args:
        port: on this machine.

    Raises:
        OSError: nobody listens.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"127.0.0.1:{port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for a path.

        Returns:
            The status and the body.

        Raises:
            OSError: the connection broke.
            OperatorError: the answer has no length.
        """
        request = f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: */*\r\n\r\n"
        self._socket.sendall(request.encode())
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        length = _LENGTH.search(data, 0, end)
        if not length:
            raise OperatorError(f"{self._host}{path}: the answer does not say how long it is")
        while len(data) < end + 4 + int(length[1]):
            data += self._receive()
        return int(data[9:12]), bytes(data[end + 4 :])

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _receive(self) -> bytes:
        data = self._socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError(f"{self._host}: closed in the middle of an answer")
        return data


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
