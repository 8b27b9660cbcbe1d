from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: the real disk has no part in these tests."""
    memory = Path("/dev/shm")  # noqa: S108 - a mount point, and the folder in it is our own
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)
