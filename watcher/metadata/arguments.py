"""The command line of a worker: written by the pool, read by the worker."""

from typing import NamedTuple


class Arguments(NamedTuple):
    """What a worker is told at its start."""

    box: int
    parent: int
    parse_seconds: float
    memory_bytes: int

    @classmethod
    def parse(cls, words: list[str]) -> "Arguments":
        """Read them from the command line.

        Raises:
            ValueError: they are not what the pool gives.
        """
        box, parent, parse_seconds, memory_bytes = words
        return cls(int(box), int(parent), float(parse_seconds), int(memory_bytes))

    def words(self) -> list[str]:
        """Return them as they go on the command line."""
        return [str(value) for value in self]
