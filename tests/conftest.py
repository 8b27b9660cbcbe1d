"""What holds for every test: how Hypothesis searches, and who may run what."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import profiles

profiles.register()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the rights of root, for those who have not got them."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("privileged"):
            item.add_marker(pytest.mark.skip(reason="needs to be root"))


def _manners() -> tuple[str, list[logging.Handler]]:
    """What a test must not leave changed in its process: the umask, and where the log goes."""
    status = Path("/proc/self/status").read_text()
    kept = [h for h in logging.getLogger().handlers if not type(h).__module__.startswith("_pytest")]
    return next(line for line in status.splitlines() if line.startswith("Umask")), kept


@pytest.fixture(autouse=True)
def _leaves_the_process_as_it_was() -> Iterator[None]:
    """A server begun in the test's own process changes modes and logs of every later test."""
    before = _manners()
    yield
    assert _manners() == before
