"""Nothing leads out of a mount, nothing forges anything, and read-only means that."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.spockfs.client import basic, message
from tests.api.spockfs.spocking import Spocked, spocked

SECRET = b"secret"
TRIES = 400


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spocked]:
    base = tmp_path_factory.mktemp("spock")
    outside = base / "outside"
    outside.mkdir()
    (outside / "s").write_bytes(SECRET)
    mounts = {"/": "disk", "/sub": str(base / "disk/sub"), "/ro": "disk", "/own": str(outside)}
    with spocked(base, mounts=mounts, read_only=("/ro",)) as disk:
        disk.at("sub").mkdir()
        disk.at("f").write_bytes(b"data")
        disk.at("escape").symlink_to(outside)
        disk.at("absolute").symlink_to("/etc/hostname")
        disk.nas.see()
        yield disk


@pytest.mark.parametrize(
    "target",
    [
        b"/../outside/s",
        b"/sub/../f",
        b"/%2e%2e/outside/s",
        b"/sub/%2E%2E/%2e%2e/outside/s",
        b"/./f",
        b"/f/.",
        b"/sub/..",
        b"/a%00b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "GETATTR", "READDIR", "DELETE"])
def test_paths_that_climb_are_refused(disk: Spocked, method: str, target: bytes) -> None:
    assert disk.raw(method, target).error == (400, "EINVAL")
    assert disk.at("f").exists()


@pytest.mark.parametrize("target", ["../outside/s", "/../outside/s", "/sub/../../outside/s", ""])
def test_targets_that_climb_are_refused(disk: Spocked, target: str) -> None:
    assert disk.ask("LINK", "/new", X_Spock_target=target).error == (400, "EINVAL")
    assert disk.ask("RENAME", "/new", X_Spock_target=target).error == (400, "EINVAL")
    assert not disk.at("new").exists()


@pytest.mark.parametrize("link", ["escape/s", "escape/new", "absolute", "escape/d/e"])
def test_links_on_the_server_are_never_followed(disk: Spocked, link: str) -> None:
    path = f"/{link}"
    for reply in (
        disk.get(path),
        disk.put(path, b"x"),
        disk.ask("TRUNCATE", path, X_Spock_size=0),
        disk.ask("FALLOCATE", path, Range="bytes=0-9", X_Spock_mode=0),
        disk.ask("READDIR", path),
    ):
        assert reply.status == 404, reply
    made: list[tuple[str, dict[str, bytes]]] = [
        ("POST", {"X_Spock_mode": b"420"}),
        ("MKDIR", {"X_Spock_mode": b"448"}),
        ("MKNOD", {"X_Spock_mode": b"4480"}),
        ("SYMLINK", {"X_Spock_target": b"x"}),
        ("LINK", {"X_Spock_target": b"/f"}),
        ("RMDIR", {}),
    ]
    for method, fields in made:
        assert disk.ask(method, path, **fields).status in (404, 409), method
    assert disk.ask("LINK", "/new", X_Spock_target="/escape/s").status == 404
    assert disk.ask("RENAME", "/new", X_Spock_target="/escape/s").status == 404
    assert [path.name for path in (disk.path.parent / "outside").iterdir()] == ["s"]
    assert (disk.path.parent / "outside/s").read_bytes() == SECRET


def test_a_link_to_a_link_is_one_to_itself(disk: Spocked) -> None:
    assert disk.ask("LINK", "/hard", X_Spock_target="/absolute").status == 201
    assert disk.at("hard").is_symlink()
    disk.ask("DELETE", "/hard")


def test_no_race_leads_out(disk: Spocked) -> None:
    """A directory is exchanged for a link again and again while its files are asked for."""
    base, stop = disk.path, threading.Event()
    (base / "real").mkdir()
    (base / "real/s").write_bytes(b"inside")
    (base / "door").symlink_to(disk.path.parent / "outside")

    def swap() -> None:
        while not stop.is_set():
            (base / "real").rename(base / "was")
            (base / "door").rename(base / "real")
            (base / "real").rename(base / "door")
            (base / "was").rename(base / "real")

    thread = threading.Thread(target=swap)
    thread.start()
    bodies = set()
    try:
        with disk.line() as line:
            for _ in range(TRIES):
                bodies.add(line.ask("GET", "/real/s", Range="bytes=0-99").body)
                assert line.ask("PUT", "/real/s", b"inside", Content_Range="bytes=0-5").status in (
                    200,
                    404,
                )
    finally:
        stop.set()
        thread.join()
    assert b"inside" in bodies
    assert SECRET not in bodies
    assert (disk.path.parent / "outside/s").read_bytes() == SECRET


def test_the_servers_own_directory_does_not_exist_for_clients(disk: Spocked) -> None:
    disk.at(".nasfeed").mkdir(exist_ok=True)
    assert b".nasfeed" not in disk.names()
    for method in ("GETATTR", "READDIR", "RMDIR"):
        assert disk.ask(method, "/.nasfeed").error == (404, "ENOENT")
    assert disk.ask("MKDIR", "/sub/.nasfeed", X_Spock_mode=448).status == 404
    assert disk.ask("RENAME", "/new", X_Spock_target="/.nasfeed").status == 404


def test_nothing_is_changed_under_a_read_only_mount_point(disk: Spocked) -> None:
    assert disk.get("/ro/f").body == b"data"
    assert disk.ask("OPEN", "/ro/f", X_Spock_flag=0).status == 200
    flags = (os.O_WRONLY, os.O_TRUNC, os.O_CREAT, os.O_RDWR | os.O_CREAT)
    requests: list[tuple[str, dict[str, str | bytes | int]]] = [
        ("ACCESS", {"X_Spock_mode": os.W_OK}),
        ("POST", {"X_Spock_mode": 420}),
        ("PUT", {"Content_Range": "bytes=0-0"}),
        ("DELETE", {}),
        ("RENAME", {"X_Spock_target": "/ro/f"}),
        ("LINK", {"X_Spock_target": "/ro/f"}),
        ("SETXATTR", {"X_Spock_target": "user.a"}),
        ("UTIMENS", {"X_Spock_mtime": 1}),
        ("TRUNCATE", {"X_Spock_size": 0}),
        ("MKDIR", {"X_Spock_mode": 448}),
        ("RMDIR", {}),
        ("CHMOD", {"X_Spock_mode": 448}),
        ("CHOWN", {}),
        ("MKNOD", {"X_Spock_mode": 4480}),
        ("SYMLINK", {"X_Spock_target": "x"}),
        ("FALLOCATE", {"Range": "bytes=0-9"}),
        ("REMOVEXATTR", {"X_Spock_target": "user.a"}),
    ]
    requests += [("OPEN", {"X_Spock_flag": flag}) for flag in flags]
    for method, fields in requests:
        body = b"x" if method == "PUT" else b""
        assert disk.ask(method, "/ro/f", body, **fields).error == (403, "EROFS"), method
    assert disk.at("f").read_bytes() == b"data"
    assert disk.ask("STATFS", "/ro/f").number("flag") & os.ST_RDONLY


def test_mount_points_are_told_apart(disk: Spocked) -> None:
    disk.at("sub/x").write_bytes(b"x")
    assert disk.get("/sub/x").body == b"x"
    assert disk.get("/own/s").body == SECRET
    assert disk.put("/own/s", SECRET).status == 200
    for method in ("LINK", "RENAME"):
        reply = disk.ask(method, "/own/x", X_Spock_target="/f")
        assert reply.error == (422, "EXDEV")
    assert disk.ask("RMDIR", "/sub").error == (423, "EBUSY")
    assert disk.ask("DELETE", "/").error == (423, "EBUSY")
    assert disk.ask("RENAME", "/y", X_Spock_target="/sub").error == (422, "EXDEV")


NAMES = [
    b"caf\xc3\xa9",
    b"\xff\xfe",
    b"a b",
    b"%41",
    b"a\nb",
    b"\r\nX-Spock-mode: 1",
    b"?q=1#f",
    b"\x01",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_bytes(disk: Spocked, name: bytes) -> None:
    path = b"/sub/" + name
    disk.make(path, b"data")
    assert disk.get(path).body == b"data"
    assert os.path.lexists(bytes(disk.at("sub")) + b"/" + name)
    reply = disk.ask("READDIR", "/sub")
    listed = reply.body.split(b"\n")
    if b"\n" in name:
        assert reply.number("omitted") == 1
        assert b"b" not in listed
        assert b"X-Spock-mode: 1" not in listed
    else:
        assert name in listed
    disk.nas.see()
    assert disk.ask("DELETE", path).status == 200


def test_a_target_cannot_inject_a_field(disk: Spocked) -> None:
    disk.make("/sub/t", b"")
    with disk.line() as line:
        line.send(
            message("SETXATTR", b"/sub/t", b"v", {"X-Spock-target": b"user.a\nX-Spock-flag: 2"})
        )
        with contextlib.suppress(AssertionError):
            assert line.read().status in (200, 400)
    disk.ask("SETXATTR", "/sub/t", b"v", X_Spock_target_encoded="user.a%0D%0Ab", X_Spock_flag=0)
    reply = disk.ask("LISTXATTR", "/sub/t", X_Spock_size=4096)
    assert b"b" not in reply.body.split(b"\n")
    disk.ask("SYMLINK", "/sub/l", X_Spock_target_encoded="x%0D%0AX-Spock-mode: 1")
    assert disk.ask("GETATTR", "/sub/l").number("mode") != 1
    assert disk.ask("READLINK", "/sub/l").body == b"x\r\nX-Spock-mode: 1"


def test_a_field_that_is_there_twice_is_refused(disk: Spocked) -> None:
    with disk.line() as line:
        line.send(
            b"CHMOD /f HTTP/1.1\r\nHost: x.localhost\r\nX-Spock-mode: 1\r\nX-Spock-mode: 2\r\n\r\n"
        )
        assert line.read().error == (400, "EINVAL")


def test_strangers_and_readers_are_kept_out(tmp_path: Path) -> None:
    users = {"alice": "wonder", "ann": "öl"}
    with spocked(tmp_path, users=users, read_users={"bob": "look"}) as disk:
        for stranger in ({}, basic("alice", "x"), basic("bob", "wonder"), basic("", "")):
            reply = disk.as_(stranger).ask("GETATTR", "/")
            assert reply.status == 401
            assert reply.fields["www-authenticate"].startswith("Basic")
            assert disk.as_(stranger).ask("OPTIONS", "/").status == 401
        bob, alice = disk.as_(basic("bob", "look")), disk.as_(basic("alice", "wonder"))
        assert bob.create("/f").error == (403, "EACCES")
        assert bob.ask("OPEN", "/", X_Spock_flag=os.O_CREAT).error == (403, "EACCES")
        alice.make("/f", b"data")
        assert alice.ask("OPEN", "/f", X_Spock_flag=os.O_RDWR).status == 200
        assert bob.ask("OPEN", "/f", X_Spock_flag=os.O_RDWR).error == (403, "EACCES")
        assert bob.get("/f").body == b"data"
        disk.as_(basic("ann", "öl")).put("/f", b"more")
        disk.nas.see()
        assert {e.author for e in disk.made(0, b"f")} == {"spockfs:alice", "spockfs:ann"}


def test_a_server_is_reached_only_under_its_names(disk: Spocked) -> None:
    with disk.line() as line:
        line.send(b"GETATTR /f HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert line.read().status == 421


def test_requests_ahead_of_answers_are_answered_in_order(disk: Spocked) -> None:
    put = message("PUT", b"/f", b"DATA", {"Content-Range": "bytes=0-3"})
    with disk.line() as line:
        line.send(
            message("GETATTR", b"/f") + put + message("READLINK", b"/f") + message("STATFS", b"/")
        )
        assert [line.read().status for _ in range(4)] == [200, 200, 400, 200]


def test_a_request_that_comes_byte_by_byte_is_understood(disk: Spocked) -> None:
    with disk.line() as line:
        for byte in message("GETATTR", b"/f") + message("ACCESS", b"/f", b"", {"X-Spock-mode": 0}):
            line.send(bytes([byte]))
        assert [line.read().status for _ in range(2)] == [200, 200]


def test_what_follows_a_chunked_body_is_never_taken_for_another_method(disk: Spocked) -> None:
    chunked: dict[str, str | bytes | int] = {"Transfer-Encoding": "chunked"}
    first = message("DELETE", b"/none", b"", chunked) + b"0\r\n\r\n"
    with disk.line() as line:
        line.send(first + message("GET", b"/f"))
        assert line.read().status == 404
        assert line.read().status == 200
    assert disk.at("f").exists()


@pytest.mark.parametrize(
    "fields", [{"Transfer-Encoding": "chunked", "Content-Length": 4}, {"Content-Length": "4, 4"}]
)
def test_bodies_with_two_lengths_are_refused(
    disk: Spocked, fields: dict[str, str | bytes | int]
) -> None:
    with disk.line() as line:
        line.send(message("TRUNCATE", b"/f", b"", fields) + b"0\r\n\r\n")
        assert line.read().status == 400
