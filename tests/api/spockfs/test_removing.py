"""REMOVE: many names of a directory in one request."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Removed
from tests.api.spockfs.client import encode
from tests.api.spockfs.spocking import Spocked, spocked

WHO = "spockfs"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spocked]:
    with spocked(tmp_path_factory.mktemp("disk")) as disk:
        yield disk


def remove(disk: Spocked, directory: str, *lines: bytes) -> list[str]:
    reply = disk.ask("REMOVE", directory, b"".join(line + b"\n" for line in lines))
    assert reply.status == 200, reply
    return reply.body.decode().splitlines()


def test_many_names_go_in_one_step_with_their_author(disk: Spocked) -> None:
    names = [b"a", b"b c", b"\xff\n\r", b"%"]
    disk.at("d").mkdir()
    for name in names:
        disk.make(b"/d/" + name, b"x")
    after = disk.nas.system.reader.head()
    assert remove(disk, "/d", *map(encode, names)) == ["0"] * 4
    assert list(disk.at("d").iterdir()) == []
    gone = [event for event in disk.events(after) if isinstance(event, Removed)]
    assert {event.author for event in gone} == {WHO}
    assert len(gone) == 4


def test_each_name_has_an_answer_of_its_own(disk: Spocked) -> None:
    top = disk.at("mixed")
    (top / "directory").mkdir(parents=True)
    (top / "link").symlink_to("directory")
    for name in ("f", "changed", "other"):
        (top / name).write_text(name)
    found = {name: (top / name).stat() for name in ("f", "changed", "other")}
    told = remove(
        disk,
        "/mixed",
        b"none",
        b"directory",
        b"link",
        b"f %d %d" % (found["f"].st_ino, found["f"].st_mtime_ns),
        b"changed %d %d" % (found["changed"].st_ino, found["changed"].st_mtime_ns - 1),
        b"other %d" % (found["other"].st_ino + 1),
    )
    assert told == ["ENOENT", "EISDIR", "0", "0", "ESTALE", "ESTALE"]
    assert sorted(path.name for path in top.iterdir()) == ["changed", "directory", "other"]


def test_nothing_outside_the_directory_can_be_named(disk: Spocked) -> None:
    disk.at("below").mkdir()
    disk.at("above").write_text("x")
    for name in (b"..%2Fabove", b"..", b".", b"%2Fabove", b"a%00b", b"", b"a 1 2 3", b"a x"):
        reply = disk.ask("REMOVE", "/below", name + b"\n")
        assert reply.status in (400, 423), (name, reply)
    assert disk.at("above").exists()
    assert disk.ask("REMOVE", "/", b".nasfeed\n").status == 404
    assert disk.ask("REMOVE", "/none", b"a\n").error == (404, "ENOENT")
    assert disk.ask("REMOVE", "/above", b"a\n").error == (404, "ENOTDIR")
    assert disk.ask("REMOVE", "/below", b"a\n" * 1001).error == (413, "E2BIG")
    assert disk.ask("REMOVE", "/below", b"").status == 200


def test_a_link_in_the_place_of_the_directory_is_not_followed(disk: Spocked) -> None:
    disk.at("real").mkdir()
    (disk.at("real") / "f").write_text("x")
    disk.at("way").symlink_to("real")
    assert disk.ask("REMOVE", "/way", b"f\n").status == 404
    assert (disk.at("real") / "f").exists()


def test_mount_points_and_what_may_not_be_changed_stay(tmp_path: Path) -> None:
    top = tmp_path / "disk"
    (top / "a/point").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (top / "a/f").write_text("x")
    mounts = {"/": str(top), "/a/point": str(tmp_path / "elsewhere"), "/safe": str(top / "a")}
    with spocked(tmp_path, mounts=mounts, read_only=["/safe"]) as disk:
        assert disk.ask("REMOVE", "/a", b"point\n").error == (423, "EBUSY")
        assert disk.ask("REMOVE", "/safe", b"f\n").error == (403, "EROFS")
        assert os.listdir(top / "a")  # noqa: PTH208 - names alone
        (tmp_path / "elsewhere/f").write_text("x")
        assert disk.ask("REMOVE", "/a/point", b"f\n").status == 200
        assert not (tmp_path / "elsewhere/f").exists()
