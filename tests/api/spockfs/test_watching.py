"""Clients that keep copies are told what has changed, as soon as it has."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.spockfs.client import Reply
from tests.api.spockfs.spocking import Spocked, spocked


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Spocked]:
    mounts = {"/": "disk", "/sub": str(tmp_path / "disk/sub")}
    with spocked(tmp_path, mounts=mounts) as disk:
        disk.at("sub").mkdir()
        disk.nas.see()
        yield disk


def watch(disk: Spocked, before: Reply, path: str = "/") -> Reply:
    position = before.fields["x-spock-position"]
    return disk.ask("WATCH", path, X_Spock_position=position)


def told(reply: Reply) -> dict[bytes, bytes]:
    return dict(line.split(b" ", 1) for line in reply.body.splitlines())


def test_a_new_client_is_told_where_to_begin(disk: Spocked) -> None:
    for position in ("", "x", "other:1", ":1"):
        reply = disk.ask("WATCH", "/", X_Spock_position=position)
        assert (reply.fields["x-spock-all"], reply.body) == ("1", b"")


def test_what_is_done_is_told_to_those_who_wait(disk: Spocked) -> None:
    reply = disk.ask("WATCH", "/")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(watch, disk, reply)
        disk.make("/a b\n", b"data")
        reply = waiting.result(30)
    found = disk.at("a b\n").stat()
    [inode, *_] = told(reply)[b"/a%20b%0A"].split()
    assert int(inode) == found.st_ino
    assert "x-spock-all" not in reply.fields


def test_both_ends_of_a_move_are_told(disk: Spocked) -> None:
    disk.make("/f", b"data")
    disk.nas.see()
    reply = disk.ask("WATCH", "/")
    disk.at("f").rename(disk.at("sub/g"))
    found: dict[bytes, bytes] = {}
    while b"/sub/g" not in found:
        reply = watch(disk, reply)
        found |= told(reply)
    assert found[b"/f"] == b"-"


def test_a_mount_point_hears_of_what_is_below_it_only(disk: Spocked) -> None:
    reply = disk.ask("WATCH", "/sub")
    disk.make("/f", b"data")
    disk.make("/sub/g", b"data")
    found: dict[bytes, bytes] = {}
    while b"/g" not in found:
        reply = watch(disk, reply, "/sub")
        found |= told(reply)
    assert set(found) == {b"/g"}


def test_what_is_not_watched_cannot_be_followed_nor_what_is_above_it(tmp_path: Path) -> None:
    mounts = {"/all": "disk", "/all/own": str(tmp_path), "/other": "disk"}
    with spocked(tmp_path, mounts=mounts) as disk:
        assert disk.ask("WATCH", "/all/own").error == (405, "EOPNOTSUPP")
        # Silence about what is below it would be taken for peace.
        assert disk.ask("WATCH", "/all").error == (405, "EOPNOTSUPP")
        assert disk.ask("WATCH", "/other").status == 200
