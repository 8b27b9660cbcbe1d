"""Rows: what does not depend on a peer, but on the size of the tree."""

from collections.abc import Iterator
from typing import Literal

from tools.bench.life import Life
from tools.bench.row import Figures, Goal, Row
from tools.bench.tree import Tree

MIB = 2**20
MEMORY_MIB = 150
NODE_BYTES = 400


def rows_of(life: Life, tree: Tree, memory_mib: float) -> Iterator[Row]:
    """Say what a life of nasfeed on a large tree showed.

    Args:
        life: all that was measured.
        tree: on which.
        memory_mib: the most memory allowed, MiB.
    """
    size = f"{tree.entries:,} entries"
    memory = Goal(memory_mib, relative=False)
    yield _row(f"drain, {size}", "changes/s", life.drained, better="more")
    yield _row(f"GET /cursor, {size}", "answers/s", life.cursors, better="more")
    yield _row(f"memory idle, {size}", "MiB", life.memory / MIB, memory)
    yield _row(f"memory peak, {size}", "MiB", life.memory_peak / MIB, memory)
    yield _row(f"memory after drains, {size}", "MiB", life.memory_drained / MIB, memory)
    nodes = life.database / tree.entries
    yield _row(f"database, {size}", "bytes a node", nodes, Goal(NODE_BYTES, relative=False))


def _row(
    work: str,
    unit: str,
    value: float,
    goal: Goal | None = None,
    better: Literal["less", "more"] = "less",
) -> Row:
    return Row(work=work, unit=unit, ours=Figures("nasfeed", (value,)), goal=goal, better=better)
