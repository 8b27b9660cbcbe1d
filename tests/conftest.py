"""What holds for every test: how Hypothesis searches, and who may run what."""

import os

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
