"""Limits that the kernel sets for all programs of a user together."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from watcher.backend import WatchLimitError

_SETTINGS = Path("/proc/sys")

MAX_WATCHES = ("fs.inotify.max_user_watches", "user.max_inotify_watches")
"""The machine's limit of directories watched by inotify, and that of the user namespace."""


class Limit(NamedTuple):
    """A limit in force.

    Attributes:
        name: of the sysctl that sets it.
        value: what it is set to.
    """

    name: str
    value: int


def lowest(settings: Sequence[str]) -> Limit:
    """Return which of several limits of one thing is in force: the lowest.

    Args:
        settings: names of sysctls, as the machine's and that of the user namespace
            (namespaces(7)); of all but the first it may be that this kernel has none.

    Raises:
        OSError: /proc/sys cannot be read.
    """
    files = [(name, _SETTINGS / name.replace(".", "/")) for name in settings]
    found = [(name, file) for name, file in files if name == settings[0] or file.exists()]
    limits = [Limit(name, int(file.read_text(encoding="ascii"))) for name, file in found]
    return min(limits, key=lambda limit: limit.value)


class LimitReachedError(WatchLimitError):
    """A limit that a sysctl sets was reached.

    Args:
        limit: the limit.
        interface: kernel interface, as `inotify`.
        what: what there are no more of.
    """

    def __init__(self, limit: Limit, interface: str, what: str) -> None:
        self._limit = limit
        name, value = limit
        self._reached = (
            f"{interface}: no more {what}: {name} is {value} and used up by this and other programs"
        )
        super().__init__(f"{self._reached}; {self._remedy(0)}")

    def advice(self, missing: int) -> str:
        """As in the base class; the remedy then is enough for twice as many as are missing."""
        return (
            f"{self._reached}; directories that are not watched, and only compared from time to "
            f"time: {missing}; {self._remedy(missing)}"
        )

    def _remedy(self, missing: int) -> str:
        name, value = self._limit
        enough = value + max(value, 2 * missing)
        return f"raise it with: sysctl -w {name}={enough} (and put the setting into /etc/sysctl.d)"


def watch_limit() -> int:
    """Return how many directories all programs of this user together can watch by inotify."""
    return lowest(MAX_WATCHES).value
