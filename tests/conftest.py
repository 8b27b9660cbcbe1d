"""What holds for every test: how Hypothesis searches, and who may run what."""

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadline: two slow cores must not fail a test. The failing example is printed, to be kept.
settings.register_profile(
    "quick", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=5_000)
settings.load_profile("quick")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the rights of root, for those who have not got them."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("privileged"):
            item.add_marker(pytest.mark.skip(reason="needs to be root"))
