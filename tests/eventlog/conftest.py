from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.log import Log
from tests import profiles
from tests.eventlog.helpers import FakeClock, sound_log

profiles.register()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path, clock: FakeClock) -> Iterator[Log]:
    """A log that is checked as a whole when the test is over."""
    with sound_log(path, clock) as opened:
        yield opened
