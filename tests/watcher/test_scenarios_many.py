"""Much at once: nothing is lost, and nothing that is gone stays."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.nas import BACKENDS, Nas, running, write

pytestmark = pytest.mark.slow


@pytest.fixture(params=BACKENDS)
def nas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nas]:
    with running(
        tmp_path, "root", skip_initial_hash=True, backend=request.param, removal_percent=100.0
    ) as nas:
        yield nas


def count(nas: Nas) -> int:
    """Return how many nodes there are, the root included."""
    with nas.tree() as tree:
        return tree.count()


def test_no_file_is_lost_in_a_thousand_trees_made_at_once(nas: Nas) -> None:
    for number in range(1000):
        write(nas.roots["root"] / str(number) / "a" / "b" / "c" / "file", b"")
    nas.wait(lambda: count(nas) == 5001, "all are there")
    nas.see()


def test_nine_thousand_files_come_and_go_without_a_miss_or_a_ghost(nas: Nas) -> None:
    cursor, directory = nas.head, nas.roots["root"] / "directory"
    directory.mkdir()
    for number in range(9000):
        (directory / str(number)).touch()
    nas.wait(lambda: count(nas) == 9002, "all are there")
    nas.see()
    shutil.rmtree(directory)
    nas.wait(lambda: count(nas) == 1, "all are gone")
    assert nas.feed(cursor) == {}
