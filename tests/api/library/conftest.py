"""A household for all tests of a module; those who need another one make it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.library import Right
from tests.api.library.family import Family, Person, family


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home")) as home:
        home.add("Terry", Right("photos", write=True))
        yield home


@pytest.fixture
def terry(home: Family) -> Person:
    return home.person("terry")


@pytest.fixture
def photos(home: Family) -> Path:
    return home.nas.roots["photos"]
