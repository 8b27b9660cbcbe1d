"""A proxy that breaks connections in the middle of a body, as a train in a tunnel does."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from typing import Self

_AT_ONCE = struct.pack("ii", 1, 0)
"""For SO_LINGER: close with a reset, and forget what was not sent."""

_PIECE = 2**16


class CuttingProxy:
    """Forwards connections to a server on this machine.

    Args:
        port: of the server.
        cuts: after how many bytes of a client each is cut; whoever sends fewer is not.
    """

    def __init__(self, port: int, cuts: Sequence[int]) -> None:
        self._target = port
        self._cuts = list(cuts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    @property
    def left(self) -> int:
        """How many cuts are still to come."""
        return len(self._cuts)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # whoever waits for more wakes up
            each.close()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, server]
                for work in (self._forward, self._answer):
                    thread = threading.Thread(target=work, args=(client, server))
                    self._threads.append(thread)
                    thread.start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        count = 0
        for data in _received(client):
            count += len(data)
            if self._cuts and count > self._cuts[0]:
                with contextlib.suppress(OSError):
                    server.sendall(data[: len(data) - (count - self._cuts.pop(0))])
                for each in (client, server):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RD)
                    each.close()
                return
            with contextlib.suppress(OSError):
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        for data in _received(server):
            with contextlib.suppress(OSError):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)


def _received(connection: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while data := connection.recv(_PIECE):
            yield data
