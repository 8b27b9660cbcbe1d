"""What an observer says of itself, for people and programs that look after the server."""

from collections.abc import Iterable

import msgspec


class RootStatus(msgspec.Struct, frozen=True):
    """The state of one root.

    Attributes:
        name, path: as configured.
        state: "starting", "scanning", "online" or "offline".
        reason: why it is offline or degraded, else "".
        backend: how changes are noticed.
        backend_reason: why in this way.
        number: its node number; 0 before it was ever seen.
        scanned: whether the whole of it was ever seen.
        walking: whether there are places in it that the scan that goes on has not seen yet.
        watches: directories watched.
        hints: places that wait to be looked at.
        entries, directories: counted by the scan that goes on, or else by the last one.
        scan_seconds: how long that scan takes or took.
        scans: scans completed since the start.
        scanned_us: when the last of them ended, microseconds since 1970 UTC; 0: none did.
        overflows: how often hints were lost, each answered by a scan.
        repairs: events that a scan after the first one made: what no hint had told yet.
        unreadable: directories that the last scan could not list.
        unmounted: directories below which nothing is touched until their filesystem is back.
        withheld: nodes that a comparison found missing, and that are kept until someone confirms
            their removal.
        warning: what the operator should do something about, else "".
    """

    name: str
    path: str
    state: str = "starting"
    reason: str = ""
    backend: str = ""
    backend_reason: str = ""
    number: int = 0
    scanned: bool = False
    walking: bool = True
    watches: int = 0
    hints: int = 0
    entries: int = 0
    directories: int = 0
    scan_seconds: float = 0.0
    scans: int = 0
    scanned_us: int = 0
    overflows: int = 0
    repairs: int = 0
    unreadable: int = 0
    unmounted: int = 0
    withheld: int = 0
    warning: str = ""


def watches_used(states: Iterable[RootStatus]) -> int:
    """Return how many watches of inotify all roots together have; those of fanotify are others."""
    return sum(state.watches for state in states if state.backend == "inotify")
