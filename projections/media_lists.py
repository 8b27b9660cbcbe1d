"""The lists of files that the media library keeps in order: who is in each, and by what.

A list is of one kind, and in one order. It has an arm for each value of its columns: the files of
one root and type, those of one catalog, root and type, and so on. What clients ask for is merged
from arms. Each arm in each order is one stretch of one index of `media.sql`.
"""

from typing import Final, NamedTuple

SORTS: Final = {1: "created", 2: "uploaded", 3: "size", 4: "duration", 5: "pixels"}
"""Columns of the orders that clients may ask for, by their numbers there."""

ORDERS: Final = {0: "number", **SORTS}
"""All of them, with the one that is used when none is asked for."""

_STRIDE: Final = 8
"""Between the numbers of lists of two kinds."""


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


KINDS: Final = {
    (by_parent, by_uploader): Kind(nth * _STRIDE, by_parent, by_uploader)
    for nth, (by_uploader, by_parent) in enumerate(
        [(False, False), (False, True), (True, False), (True, True)]
    )
}
"""By whether an arm is of one catalog, and whether it is of one user."""


def beyond(order: int, sign: str) -> str:
    """Return the condition that a row lies on one side of a place in an order.

    Args:
        order: one of `ORDERS`.
        sign: a comparison, as `>=`.

    Returns:
        SQL, for the bindings of `place`.
    """
    return f"number {sign} ?" if order == 0 else f"({ORDERS[order]}, number) {sign} (?, ?)"


def place(order: int, key: int, number: int) -> tuple[int, ...]:
    """Return what `beyond` is bound to: a file's key in an order, and its number."""
    return (number,) if order == 0 else (key, number)
