"""Takes the addresses to listen on, before anything else is begun, so that a taken one shows.

Nothing listens yet, so a client that comes too early is refused and not kept waiting.
"""

import contextlib
import errno
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

_REASONS: Final = {
    errno.EADDRINUSE: "another program is using this port; stop it, or give another --port",
    errno.EACCES: "this port is for the administrator only; give a --port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address; give another --host",
}

_ABSENT: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A name may stand for addresses that this machine lacks, as localhost does without IPv6."""


class ListenError(Exception):
    """The server cannot listen. The message is one line: where, why and what to do.

    Args:
        host: where it should listen.
        port: where it should listen.
        error: what the system said.

    Attributes:
        is_taken: whether another program is there.
    """

    def __init__(self, host: str, port: int, error: OSError) -> None:
        self.is_taken = error.errno == errno.EADDRINUSE
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        super().__init__(f"cannot listen on {host} port {port}: {reason}")


class Bound:
    """Addresses that are taken; leaving the context gives them back.

    Args:
        host: address or name to listen on; a name may stand for several addresses; "" for all.
        port: to listen on; 0 takes a free one.

    Attributes:
        host, port: as given.
        sockets: one for each address.

    Raises:
        ListenError: they cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.sockets: list[socket.socket] = []
        with self.explained(), contextlib.ExitStack() as undone:
            undone.callback(self.close)
            self._bind_all()
            undone.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the addresses back; those that a server has closed already are left out."""
        for each in self.sockets:
            each.close()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Say where, why and what to do when listening fails.

        Raises:
            ListenError: it did.
        """
        try:
            yield
        except OSError as error:
            raise ListenError(self.host, self.port, error) from error

    def _bind_all(self) -> None:
        found = socket.getaddrinfo(
            self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        absent: OSError | None = None
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                self.sockets.append(_bound(socket.socket(family, kind, protocol), address))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
        if absent and not self.sockets:
            raise absent


def _bound(place: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    try:
        # After a restart, connections of the last server may still be ending.
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if place.family == socket.AF_INET6:
            # Another socket takes the IPv4 address.
            place.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        place.settimeout(0)
        place.bind(address)
    except OSError:
        place.close()
        raise
    return place
