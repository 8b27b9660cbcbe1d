"""The lists of files that the media library keeps in order: who is in each, and by what.

A list is of one kind, and in one order. It has an arm for each value of its columns: the files of
one root and type, those of one catalog, root and type, and so on. What clients ask for is merged
from arms. Each arm in each order is one stretch of one index of `media.sql`.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import apsw

from eventlog.connection import fetch

SORTS: Final = {1: "created", 2: "uploaded", 3: "size", 4: "duration", 5: "pixels"}
"""Columns of the orders that clients may ask for, by their numbers there."""

ORDERS: Final = {0: "number", **SORTS}
"""All of them, with the one that is used when none is asked for."""

_STRIDE: Final = 8
"""Between the numbers of lists of two kinds."""


Piece = tuple[str, tuple[int, ...]]
"""A condition, to be put behind another one, and its bindings."""


class Arm(NamedTuple):
    """Files that lie together in one order.

    Attributes:
        type: bit of their type.
        root: number of the root that they hang from.
        parent: number of the catalog that they are shown in; 0 for any.
        uploader: number of the user who uploaded them; 0 for any.
    """

    type: int
    root: int
    parent: int = 0
    uploader: int = 0


class Kind(NamedTuple):
    """What the arms of some lists have in common.

    Attributes:
        first: number of the list of this kind that is in order of the numbers.
        by_parent: whether an arm is of one catalog.
        by_uploader: whether an arm is of one user.
    """

    first: int
    by_parent: bool
    by_uploader: bool

    def list_of(self, order: int) -> int:
        """Return the number of a list.

        Args:
            order: one of `ORDERS`.
        """
        return self.first + order

    @property
    def condition(self) -> str:
        """The rows of an arm, for `bindings`; SQLite finds the index by the words."""
        words = ["uploader = ? and uploader > 0"] if self.by_uploader else []
        words += ["parent = ?"] if self.by_parent else []
        return " and ".join([*words, "root = ?", "type = ?"])

    def bindings(self, arm: Arm) -> tuple[int, ...]:
        """Return what `condition` is bound to."""
        parts = [arm.uploader] if self.by_uploader else []
        parts += [arm.parent] if self.by_parent else []
        return (*parts, arm.root, arm.type)

    def files(self, connection: apsw.Connection, arm: Arm, parts: Iterable[Piece]) -> int:
        """Return how many files of an arm lie in some stretches; see `pieces`."""
        query = f"select count(*) from media where {self.condition}"  # noqa: S608 - our own words
        bound = self.bindings(arm)
        return sum(fetch(connection, query + text, bound + more)[0][0] for text, more in parts)


KINDS: Final = {
    (by_parent, by_uploader): Kind(nth * _STRIDE, by_parent, by_uploader)
    for nth, (by_uploader, by_parent) in enumerate(
        [(False, False), (False, True), (True, False), (True, True)]
    )
}
"""By whether an arm is of one catalog, and whether it is of one user."""


class Place(NamedTuple):
    """A place in an order: a file's key and its number."""

    key: int
    number: int


def pieces(order: int, start: Place | None, stop: Place | None) -> list[Piece]:
    """Return the stretches of an index that lie from one place up to another.

    Where many files have the same key, the number has to be looked for by the index as well. SQLite
    does not do that for `(key, number) >= (?, ?)` when the number is the primary key.

    Args:
        order: one of `ORDERS`.
        start: the first place; None for the first of all.
        stop: the place behind the last; None for the end.
    """
    key = ORDERS[order]
    if order == 0:
        return [_bounded("number", start and start.number - 1, stop and stop.number)]
    if start is not None and stop is not None and start.key == stop.key:
        return [(f" and {key} = ? and number >= ? and number < ?", (*start, stop.number))]
    found = [_bounded(key, start and start.key, stop and stop.key)]
    if start is not None:
        found.insert(0, (f" and {key} = ? and number >= ?", tuple(start)))
    if stop is not None:
        found.append((f" and {key} = ? and number < ?", tuple(stop)))
    return found


def _bounded(column: str, above: int | None, below: int | None) -> Piece:
    edges = [(f" and {column} {sign} ?", edge) for sign, edge in ((">", above), ("<", below))]
    given = [(text, edge) for text, edge in edges if edge is not None]
    return "".join(text for text, _ in given), tuple(edge for _, edge in given)
