"""A process that is killed while it compacts has lost nothing: all is in archive or log, once."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from eventlog import history, whole
from eventlog.archive import Archive
from eventlog.connection import fetch, open_reader
from eventlog.events import Created, Modified
from eventlog.log import Log
from projections.replay import FOLDS
from tests.crash.compacting_process import NODES
from tests.crash.disk import seeded
from tests.eventlog.helpers import assert_sound

KILLS = 8
PROJECT = Path(__file__).parents[2]


def run_and_kill(path: Path, archive: Path, run: int) -> dict[int, int]:
    """Start it, kill it after some rounds; return the first position and size of each round."""
    command = [sys.executable, "-m", "tests.crash.compacting_process", str(path), str(archive)]
    told: dict[int, int] = {}
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(seeded(run).randrange(1, 30)):
            first, size = process.stdout.readline().split()
            told[int(first)] = int(size)
        process.kill()
    return told


@pytest.mark.slow
def test_all_that_was_told_is_in_archive_or_log_after_every_kill(tmp_path: Path) -> None:
    path, archive = tmp_path / "log.db", tmp_path / "archive"
    told: dict[int, int] = {}
    for run in range(KILLS):
        told |= run_and_kill(path, archive, run)
        Log(str(path), FOLDS).close()
        assert_sound(path)
    with closing(open_reader(str(path))) as reader:
        head = history.head(reader)
        stored = fetch(reader, "select count(*) from events")[0][0]
        positions = 0
        for position, record in enumerate(whole.read(reader, Archive(str(archive)), 0, head), 1):
            assert record.position == position
            assert isinstance(record.event, Created | Modified)
            first = position - (position - 2) % NODES
            if isinstance(record.event, Modified) and first in told:
                assert record.event.state.size == told[first]
            positions += 1
    assert positions == head
    assert stored < head
