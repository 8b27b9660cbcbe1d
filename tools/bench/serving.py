"""Rows: what a server of the feed does, beside the peer that speaks the same protocol."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, NamedTuple

from tools.bench.bench import Bench, alternate
from tools.bench.feeds import NASFEED, Program
from tools.bench.large import MIB
from tools.bench.life import Life, live
from tools.bench.row import Figures, Goal, Row, percentile
from tools.errors import OperatorError


class _Lives(NamedTuple):
    """The lives of both servers."""

    ours: list[Life]
    theirs: list[Life]

    def row(
        self,
        work: str,
        unit: str,
        value: Callable[[Life], float],
        goal: Goal | None = None,
        better: Literal["less", "more"] = "less",
    ) -> Row:
        """Compare one value of all lives."""
        theirs = tuple(map(value, self.theirs))
        return Row(
            work=work,
            unit=unit,
            ours=Figures("nasfeed", tuple(map(value, self.ours))),
            theirs=Figures("wcpan", theirs) if theirs else None,
            better=better,
            goal=goal,
        )


def rows(bench: Bench) -> Iterator[Row]:
    """Let both servers live on the small tree, in turns, and compare their lives."""
    lives = _Lives([], [])
    sides = [partial(_live, bench, NASFEED, lives.ours)]
    if bench.wcpan:
        sides.append(partial(_live_somehow, bench, bench.wcpan, lives.theirs))
    alternate(bench.repeat, *sides)
    yield from _rates(lives)
    yield from _starts(bench, lives)
    yield from _latencies(lives)


def _live_somehow(bench: Bench, program: Program, lives: list[Life]) -> None:
    """Let the peer live, with one worker when it dies of several: MediaInfo crashes in threads."""
    try:
        _live(bench, program, lives)
    except OperatorError as error:
        bench.say(f"{program.name} ended: {error}; once more with metadata_workers: 1")
        keys = {**program.keys, "metadata_workers": 1}
        _live(bench, program._replace(keys=keys), lives)


def _live(bench: Bench, program: Program, lives: list[Life]) -> None:
    bench.say(f"a life of {program.name} on {bench.small.entries:,} entries")
    lives.append(live(bench, program, bench.small, saves=bench.saves))


def _rates(lives: _Lives) -> Iterator[Row]:
    yield lives.row(
        "drain, largest pages", "changes/s", lambda life: life.drained, Goal(10), "more"
    )
    yield lives.row(
        "drain, pages of 1,000", "changes/s", lambda life: life.drained_default, None, "more"
    )
    yield lives.row("GET /cursor", "answers/s", lambda life: life.cursors, Goal(10), "more")


def _starts(bench: Bench, lives: _Lives) -> Iterator[Row]:
    entries, files = bench.small.entries, bench.small.files
    yield lives.row("first cursor, an entry", "µs", lambda life: life.ready.seconds / entries * 1e6)
    yield lives.row("all hashed, a file", "µs", lambda life: life.described.seconds / files * 1e6)
    yield lives.row("restart, an entry", "µs", lambda life: life.restart.seconds / entries * 1e6)
    yield lives.row("memory, idle", "MiB", lambda life: life.memory / MIB)
    yield lives.row("memory, peak", "MiB", lambda life: life.memory_peak / MIB)
    yield lives.row("memory after drains", "MiB", lambda life: life.memory_drained / MIB)
    yield lives.row("database, a node", "bytes", lambda life: life.database / entries)


def _latencies(lives: _Lives) -> Iterator[Row]:
    if any(life.latencies is None for life in [*lives.ours, *lives.theirs]):
        return
    for percent, name, visible, hashed in (
        (50, "median", Goal(3, relative=False), None),
        (99, "p99", None, Goal(15, relative=False)),
    ):
        yield lives.row(f"close to visible, {name}", "ms", partial(_visible, percent), visible)
        yield lives.row(f"close to hashed, {name}", "ms", partial(_hashed, percent), hashed)


def _visible(percent: float, life: Life) -> float:
    return percentile(life.latencies.visible, percent) * 1e3 if life.latencies else 0.0


def _hashed(percent: float, life: Life) -> float:
    return percentile(life.latencies.hashed, percent) * 1e3 if life.latencies else 0.0
