"""Requests that are made again because the answer was lost, and what others did in between."""

import os
import stat
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.spockfs.client import Reply
from tests.api.spockfs.spocking import Spocked, spocked

BITS = 0o640
TIME_NS = 7_000_000_008
TIMES: dict[str, Any] = {"X_Spock_mtime": 7, "X_Spock_mtime_ns": 8}
EXISTS = (409, "EEXIST")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spocked]:
    with spocked(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


def make(disk: Spocked, name: str, data: bytes = b"data", **fields: Any) -> Reply:  # noqa: ANN401
    wanted = {"X_Spock_mode": stat.S_IFREG | BITS, "X_Spock_attr": 1, **TIMES, **fields}
    return disk.ask("MAKE", f"/{name}", data, **wanted)


def mkdir(disk: Spocked, name: str, **fields: Any) -> Reply:  # noqa: ANN401
    return disk.ask("MKDIR", f"/{name}", X_Spock_mode=0o750, X_Spock_attr=1, **TIMES, **fields)


def test_a_file_that_was_made_is_made(disk: Spocked) -> None:
    first = make(disk, "made")
    again = make(disk, "made", X_Spock_again=1)
    assert (again.status, again.number("ino")) == (201, first.number("ino"))
    assert make(disk, "not yet", X_Spock_again=1).status == 201
    assert disk.at("not yet").read_bytes() == b"data"


@pytest.mark.parametrize("flag", [0, os.O_EXCL])
def test_what_somebody_else_has_put_there_is_left_alone(disk: Spocked, flag: int) -> None:
    for number, theirs in enumerate((b"", b"dat", b"data", b"data, and more")):
        path = disk.at(f"theirs-{flag}-{number}")
        path.write_bytes(theirs)
        path.chmod(BITS)
        number_before = path.stat().st_ino
        assert make(disk, path.name, X_Spock_again=1, X_Spock_flag=flag).error == EXISTS
        assert (path.read_bytes(), path.stat().st_ino) == (theirs, number_before)


def test_what_somebody_else_has_changed_is_left_alone(disk: Spocked) -> None:
    make(disk, "changed")
    disk.at("changed").write_bytes(b"dada")
    assert make(disk, "changed", X_Spock_again=1).error == EXISTS
    assert disk.at("changed").read_bytes() == b"dada"
    make(disk, "closed")
    disk.at("closed").chmod(0o600)
    assert make(disk, "closed", X_Spock_again=1).error == EXISTS
    disk.at("linked").symlink_to("closed")
    assert make(disk, "linked", X_Spock_again=1).status in (404, 409)
    assert disk.at("linked").is_symlink()


def test_without_a_time_nothing_is_known_for_certain(disk: Spocked) -> None:
    disk.ask("MAKE", "/timeless", b"x", X_Spock_mode=stat.S_IFREG | BITS)
    again = disk.ask("MAKE", "/timeless", b"x", X_Spock_mode=stat.S_IFREG | BITS, X_Spock_again=1)
    assert again.error == EXISTS


@pytest.mark.parametrize("left", [b"", b"da", b"data"])
def test_a_file_that_death_left_half_made_is_completed(disk: Spocked, left: bytes) -> None:
    path = disk.at(f"half-{len(left)}")
    path.write_bytes(left)
    path.chmod(0o1600)
    assert make(disk, path.name).error == EXISTS
    assert make(disk, path.name, X_Spock_again=1).status == 201
    found = path.stat()
    assert (path.read_bytes(), stat.S_IMODE(found.st_mode)) == (b"data", BITS)
    assert found.st_mtime_ns == TIME_NS


def test_another_files_half_is_left_alone(disk: Spocked) -> None:
    disk.at("other").write_bytes(b"other")
    disk.at("other").chmod(0o1600)
    assert make(disk, "other", X_Spock_again=1).error == EXISTS
    assert disk.at("other").read_bytes() == b"other"


def test_a_directory_that_was_made_is_made(disk: Spocked) -> None:
    first = mkdir(disk, "d")
    assert disk.at("d").stat().st_mtime_ns == TIME_NS
    assert mkdir(disk, "d").error == EXISTS
    again = mkdir(disk, "d", X_Spock_again=1)
    assert (again.status, again.number("ino")) == (201, first.number("ino"))
    (disk.at("d") / "theirs").touch()
    assert mkdir(disk, "d", X_Spock_again=1).error == EXISTS
    disk.at("theirs").mkdir(0o750)
    assert mkdir(disk, "theirs", X_Spock_again=1).error == EXISTS
    disk.at("file").touch()
    assert mkdir(disk, "file", X_Spock_again=1).error == EXISTS


def test_a_directory_that_death_left_half_made_is_completed(disk: Spocked) -> None:
    for name in ("half", "used"):
        disk.at(name).mkdir()
        disk.at(name).chmod(0o1700)
    (disk.at("used") / "theirs").touch()
    assert mkdir(disk, "used", X_Spock_again=1).error == EXISTS
    assert mkdir(disk, "half", X_Spock_again=1).status == 201
    found = disk.at("half").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o750, TIME_NS)


def test_a_link_that_was_made_is_made(disk: Spocked) -> None:
    assert disk.ask("SYMLINK", "/l", X_Spock_target="where").status == 201
    assert disk.ask("SYMLINK", "/l", X_Spock_target="where").error == EXISTS
    assert disk.ask("SYMLINK", "/l", X_Spock_target="where", X_Spock_again=1).status == 201
    assert disk.ask("SYMLINK", "/l", X_Spock_target="elsewhere", X_Spock_again=1).error == EXISTS
    assert os.readlink(disk.at("l")) == "where"  # noqa: PTH115 - as it is


def test_what_has_come_in_the_place_of_a_file_is_not_touched(disk: Spocked) -> None:
    reply = make(disk, "mine")
    meant: dict[str, Any] = {"X_Spock_is": reply.number("ino")}
    assert disk.put("/mine", b"x", **meant).status == 200
    disk.at("new").write_bytes(b"theirs")
    disk.at("new").rename(disk.at("mine"))
    before = disk.at("mine").stat()
    assert disk.put("/mine", b"x", **meant).error == (404, "ESTALE")
    for method in ("TRUNCATE", "CHMOD", "UTIMENS", "CHOWN"):
        wanted = {"X_Spock_size": 0, "X_Spock_mode": 0o600, "X_Spock_uid": 0, **TIMES}
        assert disk.ask(method, "/mine", **wanted, **meant).error == (404, "ESTALE")
    assert disk.at("mine").stat() == before
