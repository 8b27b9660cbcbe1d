"""A writer that is killed at any moment has lost nothing that it told."""

import subprocess
import sys
from pathlib import Path

import pytest

from eventlog.connection import open_reader
from eventlog.events import Created
from eventlog.log import Log
from eventlog.schema import batches
from projections.replay import FOLDS
from tests.crash.disk import seeded
from tests.eventlog.helpers import assert_sound

KILLS = 10
PROJECT = Path(__file__).parents[2]


def run_and_kill(path: Path, run: int) -> dict[int, bytes]:
    """Start a writer, kill it after it told some positions, and return all that it told."""
    command = [sys.executable, "-m", "tests.crash.writing_process", str(path), str(run)]
    told: dict[int, bytes] = {}
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(seeded(run).randrange(1, 80)):
            told |= parse(process.stdout.readline())
        process.kill()
        for line in process.stdout:
            told |= parse(line)
    assert told
    return told


def parse(line: bytes) -> dict[int, bytes]:
    """Return names by position; of a line that was cut off, nothing."""
    if not line.endswith(b"\n"):
        return {}
    first, count, name = line.split()
    return {int(first) + n: b"%b%d" % (name, n) for n in range(int(count))}


@pytest.mark.slow
def test_a_killed_writer_has_lost_nothing_that_it_told(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    told: dict[int, bytes] = {}
    for run in range(KILLS):
        now = run_and_kill(path, run)
        assert min(now) > max(told, default=0), f"run {run}: a position was given twice"
        told |= now
        log = Log(str(path), FOLDS)
        assert log.head >= max(told)
        log.close()
        assert_sound(path)
    stored = names(path)
    assert {position: stored.get(position) for position in told} == told


def names(path: Path) -> dict[int, bytes]:
    reader = open_reader(str(path))
    found: dict[int, bytes] = {}
    for record in (record for batch in batches(reader, 0) for record in batch):
        assert isinstance(record.event, Created)
        found[record.position] = record.event.state.name
    reader.close()
    return found
