"""MAKE: a whole file in one request."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Created
from tests.api.spockfs.spocking import Spocked, spocked

WHO = "spockfs"
FILE = stat.S_IFREG | 0o640


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spocked]:
    with spocked(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


def test_bytes_mode_and_times_arrive_together_in_one_event(disk: Spocked) -> None:
    times = {"X_Spock_atime": 5, "X_Spock_atime_ns": 6, "X_Spock_mtime": 7, "X_Spock_mtime_ns": 8}
    reply = disk.ask("MAKE", "/one", b"data", X_Spock_mode=FILE, X_Spock_attr=1, **times)
    found = disk.at("one").stat()
    assert (reply.status, reply.number("ino"), reply.number("size")) == (201, found.st_ino, 4)
    assert (found.st_mode, found.st_atime_ns, found.st_mtime_ns) == (
        FILE,
        5_000_000_006,
        7_000_000_008,
    )
    assert disk.at("one").read_bytes() == b"data"
    [event] = disk.made(0, b"one")
    assert isinstance(event, Created)
    assert (event.author, event.state.size) == (WHO, 4)


def test_a_file_may_be_without_bytes_and_times(disk: Spocked) -> None:
    assert disk.ask("MAKE", "/empty", X_Spock_mode=FILE).status == 201
    assert disk.at("empty").stat().st_size == 0


def test_what_is_there_is_replaced_only_when_that_is_asked_for(disk: Spocked) -> None:
    disk.ask("MAKE", "/there", b"first, longer", X_Spock_mode=FILE)
    number = disk.at("there").stat().st_ino
    assert disk.ask("MAKE", "/there", b"x", X_Spock_mode=FILE).error == (409, "EEXIST")
    assert disk.at("there").read_bytes() == b"first, longer"
    again = disk.ask("MAKE", "/there", b"second", X_Spock_mode=0o100600, X_Spock_flag=0)
    assert again.status == 201
    assert disk.at("there").read_bytes() == b"second"
    assert (disk.at("there").stat().st_ino, disk.at("there").stat().st_mode) == (number, 0o100600)


def test_nothing_but_a_file_is_replaced(disk: Spocked) -> None:
    disk.at("directory").mkdir()
    os.mkfifo(disk.at("fifo"))
    disk.at("link").symlink_to("one")
    told = {
        name: disk.ask("MAKE", f"/{name}", b"x", X_Spock_mode=FILE, X_Spock_flag=0).errno
        for name in ("directory", "fifo", "link", "none/below")
    }
    assert told == {
        "directory": "EISDIR",
        "fifo": "EACCES",
        "link": "ELOOP",
        "none/below": "ENOENT",
    }


def test_a_body_that_is_too_long_is_refused_and_leaves_nothing(disk: Spocked) -> None:
    reply = disk.ask("MAKE", "/long", bytes(2**20 + 1), X_Spock_mode=FILE)
    assert reply.error == (413, "E2BIG")
    assert disk.ask("MAKE", "/long", b"x").error == (400, "EINVAL")
    assert disk.ask("MAKE", "/long", X_Spock_mode=FILE, X_Spock_mtime="x").status == 400
    assert not disk.at("long").exists()


def test_nothing_is_made_where_nothing_may_be_changed(tmp_path: Path) -> None:
    with spocked(tmp_path, read_only=["/"]) as disk:
        assert disk.ask("MAKE", "/f", b"x", X_Spock_mode=FILE).error == (403, "EROFS")
