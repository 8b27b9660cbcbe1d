"""A power cut at any moment loses nothing that anyone was told of, and corrupts nothing."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from eventlog import codec
from eventlog.connection import WRITER_PRAGMAS, open_writer
from eventlog.log import Log
from eventlog.schema import batches
from projections.replay import FOLDS
from tests.crash.disk import Disk, Op, Sync, Told, restore, seeded
from tests.crash.verify import verify
from tests.crash.vfs import WatchedVfs
from tests.crash.workload import Workload

STATES = 600
"""Crash states for each seed."""

SEEDS = (1, 2, 3, 4)
CHECKPOINTS: Mapping[str, int | str] = {**WRITER_PRAGMAS, "wal_autocheckpoint": 20}
"""As in a server, but with checkpoints all the time, for they are what can go wrong most."""


def record(folder: Path, seed: int, pragmas: Mapping[str, int | str]) -> list[Op]:
    """Run three servers, one after the other, and return all that they did to the disk."""
    ops: list[Op] = []
    vfs = WatchedVfs(ops.append)
    workload = Workload(ops.append, seeded(seed))
    connect = partial(open_writer, vfs=vfs.vfs_name, pragmas=pragmas)
    for groups in (12, 1, 25):
        workload.run(folder / "log.db", connect, groups)
    vfs.unregister()
    return ops


def disks(ops: list[Op], cuts: list[int]) -> Iterator[tuple[int, Disk]]:
    """Yield the disk at each of the cuts, which are in order."""
    disk, done = Disk(), 0
    for cut in cuts:
        for op in ops[done:cut]:
            disk.apply(op)
        done = cut
        yield cut, disk


def harm(folder: Path, ops: list[Op], seed: int, states: int) -> Counter[str]:
    """Rebuild crash states at random cuts and count those that harmed someone."""
    random = seeded(seed)
    found: Counter[str] = Counter()
    cuts = sorted(random.choices(range(len(ops) + 1), k=states))
    for number, (cut, disk) in enumerate(disks(ops, cuts)):
        restore(disk.after_cut(seeded(seed, number)), folder)
        verdict = verify(folder / "log.db", disk)
        if verdict:
            found["corrupt"] += verdict.corrupt
            found["lost"] += verdict.lost
            found[f"seed {seed} state {number} cut {cut}: {verdict[0]}"] += 1
    return found


def start_after_kill(folder: Path, disk: Disk) -> None:
    """Start a server on what a killed one left in memory, and have it tell what it found."""
    restore(disk.visible(), folder)
    going = [True]

    def observe(op: Op) -> None:
        if going[0]:
            disk.apply(op)

    vfs = WatchedVfs(observe)
    connect = partial(open_writer, vfs=vfs.vfs_name, pragmas=CHECKPOINTS)
    log = Log(str(folder / "log.db"), FOLDS, connect=connect)
    told = log.call(lambda transaction: list(batches(transaction.connection, 0)))
    going[0] = False
    log.close()
    vfs.unregister()
    for event in (event for batch in told for event in batch):
        disk.told[event.position] = (event.node, codec.encode(event.event))


def harm_after_kill(folder: Path, seed: int) -> Counter[str]:
    """Kill the writer before each sync of a commit, start a server, and cut the power then."""
    random = seeded(seed)
    ops = record(folder, seed, CHECKPOINTS)
    found: Counter[str] = Counter()
    syncs = [cut for cut, op in enumerate(ops) if op == Sync("log.db-wal")]
    for cut, live in disks(ops, sorted(syncs * 2)):
        disk = copy.deepcopy(live)
        start_after_kill(folder, disk)
        restore(disk.after_cut(random), folder)
        verdict = verify(folder / "log.db", disk)
        if verdict:
            found[f"cut {cut}: {verdict[0]}"] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_loses_nothing_told_and_corrupts_nothing(folder: Path, seed: int) -> None:
    ops = record(folder, seed, CHECKPOINTS)
    assert sum(isinstance(op, Told) for op in ops) > 40
    assert harm(folder, ops, seed, STATES) == Counter()


@pytest.mark.slow
def test_the_test_has_teeth_without_syncs_it_finds_corruption(folder: Path) -> None:
    ops = record(folder, 5, {**CHECKPOINTS, "synchronous": 0})
    assert harm(folder, ops, 5, 200)["corrupt"] > 5


@pytest.mark.slow
def test_the_test_has_teeth_with_too_few_syncs_it_finds_loss(folder: Path) -> None:
    ops = record(folder, 6, {**CHECKPOINTS, "synchronous": 1})
    found = harm(folder, ops, 6, 200)
    assert (found["lost"] > 5, found["corrupt"]) == (True, 0)


@pytest.mark.slow
def test_what_a_server_tells_after_a_kill_survives_a_power_cut(folder: Path) -> None:
    """The commit that a killed writer had written but not synced is told by the next one."""
    assert harm_after_kill(folder, 7) == Counter()


@pytest.mark.slow
def test_the_test_has_teeth_without_a_sync_at_the_start_that_commit_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventlog.connection.make_durable", lambda _connection: None)
    assert harm_after_kill(folder, 7).total() > 5
