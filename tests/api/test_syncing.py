import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.beneath.syncing import AT_ONCE, Syncer


@contextlib.contextmanager
def opened(directory: Path, count: int) -> Iterator[list[int]]:
    with contextlib.ExitStack() as files:
        made = [files.enter_context((directory / f"{n}").open("wb")) for n in range(count)]
        yield [file.fileno() for file in made]


@pytest.fixture(params=[True, False], ids=["by the kernel", "by threads"])
def syncer(request: pytest.FixtureRequest) -> Syncer:
    return Syncer(by_kernel=request.param)


@pytest.mark.parametrize("count", [0, 1, 8, AT_ONCE + 3])
def test_files_are_synced_together(syncer: Syncer, tmp_path: Path, count: int) -> None:
    with opened(tmp_path, count) as fds:
        assert syncer.sync(fds) == [None] * count
        assert syncer.sync(fds) == [None] * count


def test_directories_are_files_too(syncer: Syncer, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert syncer.sync([fd, fd]) == [None, None]
    finally:
        os.close(fd)


def test_what_cannot_be_synced_is_told_of_itself_only(syncer: Syncer, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        with opened(tmp_path, 4) as fds:
            found = syncer.sync([*fds[:2], reading, *fds[2:]])
    finally:
        os.close(reading)
        os.close(writing)
    assert [error and error.errno for error in found] == [None, None, errno.EINVAL, None, None]


def test_many_threads_sync_at_once(syncer: Syncer, tmp_path: Path) -> None:
    found: list[OSError | None] = []

    def work(number: int) -> None:
        directory = tmp_path / str(number)
        directory.mkdir()
        with opened(directory, 5) as fds:
            for _ in range(10):
                found.extend(syncer.sync(fds))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [None] * 6 * 5 * 10
