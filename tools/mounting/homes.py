"""Directories that this mount has made and in which nobody else has made anything since.

What is in them is known without asking the server, so a new file there cannot be somebody else's.
The server's feed says when that ends.
"""

import stat
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from tools.mounting.told import Told

NAME_MAX: Final = 255


class Owner(NamedTuple):
    """Whose something is, or who asks."""

    uid: int
    gid: int


class Home:
    """One of them.

    Args:
        owner: that the server gives to what is made in it by whom it was made for.
        maker: who it was made for.
        is_inherited: new directories in it have the set-group-ID bit, as it has.

    Attributes:
        names: of all that may be in it.
        mine: all names that this mount ever gave in it.
        told: its attributes, as far as they are known.
    """

    def __init__(self, owner: Owner, maker: Owner, *, is_inherited: bool) -> None:
        self.owner = owner
        self.maker = maker
        self.is_inherited = is_inherited
        self.names: set[bytes] = set()
        self.mine: set[bytes] = set()
        self.told: Told | None = None

    def take(self, name: bytes, made: "Told") -> None:
        """Note that something was made.

        Args:
            name: of it.
            made: its attributes.
        """
        self.names.add(name)
        self.mine.add(name)
        if self.told is not None:
            links = self.told.nlink + stat.S_ISDIR(made.mode)
            self.told = self.told._replace(nlink=links, mtime=made.ctime, ctime=made.ctime)


class Homes:
    """All of them, by the number of the directory."""

    def __init__(self) -> None:
        self._homes: dict[int, Home] = {}

    def get(self, number: int) -> Home | None:
        """Return one, or None when a directory is none."""
        return self._homes.get(number)

    def add(self, number: int, home: Home) -> None:
        """Note that a directory was made."""
        self._homes[number] = home

    def lacks(self, number: int, name: bytes) -> bool:
        """Say whether nothing is at a name for certain."""
        home = self._homes.get(number)
        return home is not None and name not in home.names

    def enter(self, number: int, name: bytes) -> None:
        """Note that this mount has given a name."""
        home = self._homes.get(number)
        if home is not None:
            home.names.add(name)
            home.mine.add(name)

    def leave(self, number: int, name: bytes) -> None:
        """Note that this mount has taken a name away."""
        home = self._homes.get(number)
        if home is not None:
            home.names.discard(name)

    def notice(self, number: int, name: bytes) -> None:
        """Note that the feed says something is at a name of which this mount knows nothing."""
        home = self._homes.get(number)
        if home is None:
            return
        if name in home.mine:  # perhaps it tells late what has passed already
            home.names.add(name)
        else:
            del self._homes[number]

    def drop(self, number: int) -> None:
        """Forget a directory."""
        self._homes.pop(number, None)

    def clear(self) -> None:
        """Forget all: the feed cannot be followed, or has left something out."""
        self._homes.clear()
