"""Several processes change a root at once, and in the end all of it is known."""

from pathlib import Path

import pytest

from tests.convergence.stress import stress, stressed
from tests.watcher.nas import BACKENDS

SEEDS = 3


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_what_many_do_at_once_is_known_in_the_end(tmp_path: Path, backend: str) -> None:
    with stressed(tmp_path, backend) as nas:
        for seed in range(SEEDS):
            stress(nas, seed, count=1000)
