"""The command line of a worker: written by the pool, read by the worker."""

from typing import NamedTuple


class Arguments(NamedTuple):
    """What a worker is told at its start.

    Attributes:
        box: descriptor of its black box.
        parent: process id of the pool.
        parse_seconds, memory_bytes, bytes_per_second: its limits.
        idle_seconds: after how long without work it ends; 0: never.
    """

    box: int
    parent: int
    parse_seconds: float
    memory_bytes: int
    bytes_per_second: float
    idle_seconds: float

    @classmethod
    def parse(cls, words: list[str]) -> "Arguments":
        """Read them from the command line.

        Raises:
            ValueError: they are not what the pool gives.
        """
        box, parent, seconds, memory, rate, idle = words
        return cls(int(box), int(parent), float(seconds), int(memory), float(rate), float(idle))

    def words(self) -> list[str]:
        """Return them as they go on the command line."""
        return [str(value) for value in self]
