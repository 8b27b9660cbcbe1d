import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from watcher.metadata.blackbox import BlackBox
from watcher.metadata.mime import MimeTypes
from watcher.metadata.pool import ProbePool
from watcher.metadata.probe import Prober
from watcher.metadata.task import Limits, Outcome, Task
from watcher.metadata.wire import Work

_PATIENCE_SECONDS = 60.0


def _task_of(path: Path | bytes, number: int = 1, *, want_hash: bool = True) -> Task:
    found = os.lstat(path)
    return Task(
        number=number,
        path=os.fsencode(path),
        ino=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        want_hash=want_hash,
    )


def _run_all(pool: ProbePool, tasks: Sequence[Task]) -> dict[int, Outcome]:
    pool.submit(tasks)
    return _collect_all(pool, len(tasks))


def _collect_all(pool: ProbePool, count: int) -> dict[int, Outcome]:
    outcomes: list[Outcome] = []
    while len(outcomes) < count:
        part = pool.collect(_PATIENCE_SECONDS)
        assert part, f"nothing came for {_PATIENCE_SECONDS} s after {len(outcomes)} of {count}"
        outcomes += part
    by_number = {outcome.number: outcome for outcome in outcomes}
    assert len(by_number) == len(outcomes) == count, "an outcome came twice"
    return by_number


@pytest.fixture
def task_of() -> Callable[..., Task]:
    return _task_of


@pytest.fixture
def run_all() -> Callable[[ProbePool, Sequence[Task]], dict[int, Outcome]]:
    return _run_all


@pytest.fixture
def collect_all() -> Callable[[ProbePool, int], dict[int, Outcome]]:
    return _collect_all


@pytest.fixture
def make_pool() -> Iterator[Callable[..., ProbePool]]:
    pools: list[ProbePool] = []

    def make(workers: int = 2, **options: object) -> ProbePool:
        pool = ProbePool(workers, **options)  # type: ignore[arg-type]
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


@pytest.fixture
def probe() -> Iterator[Callable[[Task], Outcome]]:
    """Describe a file in this very process."""
    box = BlackBox.create()
    prober = Prober(box, MimeTypes(), Limits())
    yield lambda task: prober.probe(Work(task))
    box.close()
