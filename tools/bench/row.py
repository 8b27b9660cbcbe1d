"""What is measured: figures of both sides, their ratio, and the goal for it."""

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec


class Figures(msgspec.Struct, frozen=True):
    """One side of a row.

    Attributes:
        name: who was measured.
        values: one for each repetition, in the row's unit.
        cpu_seconds: processor time of each repetition; empty where it says nothing.
    """

    name: str
    values: tuple[float, ...]
    cpu_seconds: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)


class Goal(msgspec.Struct, frozen=True):
    """What is to be reached.

    Attributes:
        limit: the most (where less is better) or the least (where more is better).
        relative: whether it limits the ratio to the peer, not the value itself.
    """

    limit: float
    relative: bool = True


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One measure.

    Attributes:
        work: what is done.
        unit: of the values.
        better: whether less or more is better.
        ours: nasfeed's figures.
        theirs: the peer's, or None when it is missing or has nothing like it.
        goal: what is to be reached, or None.
        note: what one must know to compare.
    """

    work: str
    unit: str
    ours: Figures
    theirs: Figures | None = None
    better: Literal["less", "more"] = "less"
    goal: Goal | None = None
    note: str = ""

    def best(self, figures: Figures) -> float:
        """Return the best of a side's values."""
        return min(figures.values) if self.better == "less" else max(figures.values)

    @property
    def ratio(self) -> float | None:
        """Our best value divided by the peer's."""
        return None if self.theirs is None else self.best(self.ours) / self.best(self.theirs)

    @property
    def median_ratio(self) -> float | None:
        """Our median divided by the peer's."""
        return None if self.theirs is None else self.ours.median / self.theirs.median

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None when that cannot be said."""
        if self.goal is None:
            return None
        value = self.ratio if self.goal.relative else self.best(self.ours)
        if value is None:
            return None
        return value <= self.goal.limit if self.better == "less" else value >= self.goal.limit


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value below which so many percent of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
