"""What happens while the server cannot run is all known soon after it runs again."""

from pathlib import Path

import pytest

from tests.convergence.burst import burst

COUNT = 40_000
"""Half of them in a directory that is watched: more than the queue of inotify takes."""


@pytest.mark.slow
def test_inotify_loses_hints_and_one_comparison_makes_up_for_them(tmp_path: Path) -> None:
    made = burst(tmp_path, "inotify", COUNT)
    assert (made.backend, made.overflows, made.comparisons) == ("inotify", 1, 1)


@pytest.mark.slow
@pytest.mark.privileged
def test_fanotify_of_root_loses_nothing(tmp_path: Path) -> None:
    made = burst(tmp_path, "fanotify", COUNT)
    assert (made.backend, made.overflows, made.comparisons) == ("fanotify", 0, 0)
