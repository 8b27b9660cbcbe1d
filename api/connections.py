"""The open connections of the server: how many there may be, and which one gives way."""

import resource
from collections.abc import Iterable, Iterator
from typing import Protocol

from api.limits import Limits
from api.outflow import Outflow


class Connection(Protocol):
    """What is asked of a connection here.

    Attributes:
        address: IP address of the client.
        served: how many whole requests it has brought.
        outflow: what is still to be sent to it.
    """

    address: str
    served: int
    outflow: Outflow

    @property
    def is_waiting(self) -> bool:
        """Whether no answer is due to it: it is silent, slow or idle."""
        ...

    def give_way(self) -> None:
        """Close at once."""
        ...

    def check(self, now: float) -> None:
        """Close if its time is up.

        Args:
            now: of the loop's clock, seconds.
        """
        ...


class Connections:
    """All open connections, oldest first.

    At a limit, a connection that waits for its client gives way to the new one, so that half-open
    connections shut nobody out. Only when all are busy is the new one refused.

    Args:
        limits: how many there may be, and what else each may cost.

    Attributes:
        room: how many there may be in all: never more than half of the file descriptors that the
            process may have, for without descriptors nobody could connect, and no file be read.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.room = min(self.limits.connections_max, descriptors // 2)
        self._all: dict[Connection, None] = {}
        self._by_address: dict[str, dict[Connection, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Connection]:
        return iter(tuple(self._all))

    def admit(self, connection: Connection) -> bool:
        """Add a connection if there is room for it, or room can be made."""
        same = self._by_address.get(connection.address, {})
        if len(same) >= self.limits.address_connections_max and not self._make_room(same):
            return False
        if len(self._all) >= self.room and not self._make_room(self._all):
            return False
        self._all[connection] = None
        self._by_address.setdefault(connection.address, {})[connection] = None
        return True

    def check(self, now: float) -> None:
        """Close the connections whose time is up.

        Args:
            now: of the loop's clock, seconds.
        """
        for connection in self:
            connection.check(now)

    def relieve(self) -> None:
        """Have slow clients give way, the slowest first, when too much waits for them in memory."""
        unsent = sum(connection.outflow.unsent for connection in self)
        for connection in sorted(self, key=lambda each: each.outflow.since):
            if unsent <= self.limits.unsent_bytes_max:
                break
            unsent -= connection.outflow.unsent
            if connection.outflow.unsent:
                connection.give_way()

    def discard(self, connection: Connection) -> None:
        """Forget a connection that is closed; an unknown one is ignored."""
        self._all.pop(connection, None)
        same = self._by_address.get(connection.address, {})
        same.pop(connection, None)
        if not same:
            self._by_address.pop(connection.address, None)

    def _make_room(self, among: Iterable[Connection]) -> bool:
        """Have the oldest give way that never brought a request, else the oldest that waits."""
        waiting = [connection for connection in among if connection.is_waiting]
        if not waiting:
            return False
        chosen = next((connection for connection in waiting if not connection.served), waiting[0])
        self.discard(chosen)
        chosen.give_way()
        return True
