"""One writing process for each database."""

import subprocess
import sys
from pathlib import Path

import pytest

from eventlog.errors import LogInUseError, LogUnavailableError
from eventlog.lock import LogLock
from eventlog.log import Log
from projections.replay import FOLDS

OPEN = "import sys; from eventlog.log import Log; Log(sys.argv[1], ()).close(); print('opened')"


def open_elsewhere(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=False
    )


def test_a_second_process_is_refused_in_one_line(log: Log, path: Path) -> None:
    refused = open_elsewhere(path)
    assert refused.returncode != 0
    assert f"LogInUseError: {path}: another nasfeed is using this database" in refused.stderr
    log.close()


def test_a_second_log_in_the_same_process_is_refused(log: Log, path: Path) -> None:
    with pytest.raises(LogInUseError, match="stop it, or give another --db"):
        Log(str(path), FOLDS)
    assert log.append([]) == 1


def test_a_symbolic_link_to_the_database_is_the_same_database(log: Log, path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    with pytest.raises(LogInUseError):
        Log(str(link), FOLDS)
    assert log.append([]) == 1


def test_the_lock_is_free_after_a_close(path: Path) -> None:
    Log(str(path), FOLDS).close()
    opened = open_elsewhere(path)
    assert (opened.returncode, opened.stdout) == (0, "opened\n")


def test_a_lock_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailableError, match="cannot lock: No such file or directory"):
        LogLock(str(tmp_path / "none" / "log.db"))
