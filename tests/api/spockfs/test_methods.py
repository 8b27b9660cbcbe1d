"""Every method of Specs 0.1, as its client uses it, and the errors that each can meet."""

import errno
import os
import shutil
import socket
import stat
import struct
from collections.abc import Iterator

import pytest

from api.spockfs.errors import STATUS_OF
from eventlog.events import Created, Described, Moved, Removed
from tests.api.spockfs.client import LEAVE
from tests.api.spockfs.spocking import Spocked, spocked

WHO = "spockfs"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spocked]:
    with spocked(tmp_path_factory.mktemp("spock")) as disk:
        yield disk


@pytest.fixture
def disk(served: Spocked) -> Spocked:
    """Serve a directory that is empty for each test."""
    left = [path for path in served.path.iterdir() if path.name != ".nasfeed"]
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if left:
        served.nas.see()
    return served


def test_readdir_lists_each_name_on_a_line_of_its_own(disk: Spocked) -> None:
    disk.at("d").mkdir()
    disk.at("d/f").touch()
    reply = disk.ask("READDIR", "/d")
    assert (reply.status, reply.body) == (200, b".\n..\nf\n")
    assert disk.names() == [b"d"]


def test_getattr_tells_what_lstat_says(disk: Spocked) -> None:
    disk.at("f").write_bytes(b"12345")
    reply, found = disk.ask("GETATTR", "/f"), disk.at("f").lstat()
    assert (reply.status, reply.body) == (200, b"")
    told = [
        reply.number(n) for n in ("mode", "uid", "gid", "size", "nlink", "blocks", "dev", "ino")
    ]
    assert told == [
        found.st_mode,
        found.st_uid,
        found.st_gid,
        5,
        1,
        found.st_blocks,
        found.st_dev,
        found.st_ino,
    ]
    assert reply.number("mtime") == int(found.st_mtime)
    assert reply.number("ctime") == int(found.st_ctime)
    assert reply.number("atime") == int(found.st_atime)
    assert "x-spock-mtime-ns" not in reply.fields
    precise = disk.ask("GETATTR", "/f", X_Spock_ns=1)
    assert precise.number("mtime-ns") == found.st_mtime_ns % 10**9


def test_getattr_does_not_follow_links(disk: Spocked) -> None:
    disk.at("l").symlink_to("/etc/hostname")
    assert stat.S_ISLNK(disk.ask("GETATTR", "/l").number("mode"))


def test_a_file_is_created_written_and_read_back(disk: Spocked) -> None:
    head = disk.nas.head
    assert disk.create("/created", 0o100400).status == 201
    assert stat.S_IMODE(disk.at("created").stat().st_mode) == 0o600  # its owner may write
    [event] = disk.made(head, b"created")
    assert isinstance(event, Created)
    assert event.author == WHO
    assert disk.put("/created", b"spock", 100).status == 200
    reply = disk.get("/created", 100, 104)
    assert (reply.status, reply.body) == (206, b"spock")
    assert reply.fields["content-range"] == "bytes 100-104/105"
    assert disk.at("created").read_bytes() == bytes(100) + b"spock"


def test_creating_what_is_there_is_an_error_and_harms_nothing(disk: Spocked) -> None:
    disk.make("/f", b"data")
    assert disk.create("/f").error == (409, "EEXIST")
    reply = disk.ask("POST", "/f", X_Spock_mode=0o600, X_Spock_flag=os.O_CREAT | os.O_EXCL)
    assert reply.error == (409, "EEXIST")
    assert disk.ask("POST", "/f", X_Spock_mode=0o600, X_Spock_flag=os.O_CREAT).status == 200
    assert disk.at("f").read_bytes() == b"data"


@pytest.mark.parametrize(
    ("mode", "is_kind"),
    [
        (0o010600, stat.S_ISFIFO),
        (0o140600, stat.S_ISSOCK),
        (0o100640, stat.S_ISREG),
        (0o000640, stat.S_ISREG),
    ],
)
def test_mknod_makes_what_its_mode_says(disk: Spocked, mode: int, is_kind: object) -> None:
    assert disk.ask("MKNOD", "/n", X_Spock_mode=mode, X_Spock_dev=0).status == 201
    found = disk.at("n").lstat().st_mode
    assert callable(is_kind)
    assert is_kind(found)
    assert stat.S_IMODE(found) == stat.S_IMODE(mode)


def test_mknod_makes_no_devices_and_no_directories(disk: Spocked) -> None:
    reply = disk.ask("MKNOD", "/n", X_Spock_mode=0o020600, X_Spock_dev=0x103)
    assert reply.error == (403, "EPERM")
    reply = disk.ask("MKNOD", "/n", X_Spock_mode=0o040700, X_Spock_dev=0)
    assert reply.error == (400, "EINVAL")
    assert disk.names() == []


@pytest.mark.parametrize("flag", [32768, 32769, 32770, 33793, 34817])
def test_open_accepts_the_flags_that_clients_send(disk: Spocked, flag: int) -> None:
    disk.at("f").write_bytes(b"data")
    assert disk.ask("OPEN", "/f", X_Spock_flag=flag).status == 200
    assert disk.at("f").read_bytes() == b"data"


def test_open_checks(disk: Spocked) -> None:
    disk.at("d").mkdir()
    os.mkfifo(disk.at("p"))
    assert disk.ask("OPEN", "/d", X_Spock_flag=0).status == 200
    assert disk.ask("OPEN", "/d", X_Spock_flag=1).error == (403, "EISDIR")
    assert disk.ask("OPEN", "/p", X_Spock_flag=0).status == 200  # and does not wait for a writer
    assert disk.ask("OPEN", "/p", X_Spock_flag=1).status == 200
    assert disk.ask("OPEN", "/none", X_Spock_flag=0).error == (404, "ENOENT")
    assert disk.ask("OPEN", "/d", X_Spock_flag=3).error == (400, "EINVAL")
    assert disk.ask("OPEN", "/d").error == (400, "EINVAL")


def test_open_creates_and_cuts_where_it_is_told_to(disk: Spocked) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    assert disk.ask("OPEN", "/f", X_Spock_flag=flags).status == 200
    assert disk.ask("OPEN", "/f", X_Spock_flag=flags).error == (409, "EEXIST")
    disk.put("/f", b"data")
    assert disk.ask("OPEN", "/f", X_Spock_flag=os.O_WRONLY | os.O_CREAT).status == 200
    assert disk.at("f").read_bytes() == b"data"
    assert disk.ask("OPEN", "/f", X_Spock_flag=os.O_WRONLY | os.O_TRUNC).status == 200
    assert disk.at("f").read_bytes() == b""


def test_chmod_sets_permissions_and_nothing_more(disk: Spocked) -> None:
    disk.make("/f", b"data")
    assert disk.ask("RELEASE", "/f").status == 200
    head = disk.nas.head
    assert disk.ask("CHMOD", "/f", X_Spock_mode=0o100640).status == 200
    assert disk.at("f").stat().st_mode == 0o100640
    assert [event.author for event in disk.made(head, b"f")] == [WHO]
    assert disk.ask("CHMOD", "/f", X_Spock_mode=0o104755).status == 200
    assert disk.at("f").stat().st_mode == 0o100755  # no set-user-ID
    assert disk.ask("CHMOD", "/none", X_Spock_mode=0o600).error == (404, "ENOENT")
    disk.at("l").symlink_to("f")
    assert disk.ask("CHMOD", "/l", X_Spock_mode=0o600).error == (405, "EOPNOTSUPP")
    assert disk.at("f").stat().st_mode == 0o100755


def test_owners_are_not_changed_without_the_privilege(disk: Spocked) -> None:
    disk.make("/f", b"data")
    uid, gid = disk.at("f").stat().st_uid, disk.at("f").stat().st_gid
    assert disk.ask("CHOWN", "/f", X_Spock_uid=uid + 1, X_Spock_gid=gid).error == (403, "EPERM")
    assert disk.ask("CHOWN", "/f", X_Spock_uid=LEAVE, X_Spock_gid=LEAVE).status == 200
    assert disk.ask("CHOWN", "/f", X_Spock_uid=uid, X_Spock_gid=LEAVE).status == 200
    assert disk.ask("CHOWN", "/f", X_Spock_uid=-1, X_Spock_gid=gid).error == (400, "EINVAL")
    assert disk.at("f").stat().st_uid == uid


def test_truncate_cuts_and_lengthens(disk: Spocked) -> None:
    disk.make("/f", b"data")
    assert disk.ask("TRUNCATE", "/f", X_Spock_size=2).status == 200
    assert disk.at("f").read_bytes() == b"da"
    assert disk.ask("TRUNCATE", "/f", X_Spock_size=2**33).status == 200
    assert disk.at("f").stat().st_size == 2**33
    assert disk.ask("TRUNCATE", "/f", X_Spock_size=2**63).status == 416
    assert disk.ask("TRUNCATE", "/f").error == (400, "EINVAL")
    disk.at("d").mkdir()
    assert disk.ask("TRUNCATE", "/d", X_Spock_size=2).error == (403, "EISDIR")


def test_access_takes_the_bits_of_the_system_call(disk: Spocked) -> None:
    disk.at("f").touch(0o600)
    assert disk.ask("ACCESS", "/f", X_Spock_mode=0).status == 200
    assert disk.ask("ACCESS", "/f", X_Spock_mode=os.R_OK | os.W_OK).status == 200
    assert disk.ask("ACCESS", "/f", X_Spock_mode=os.X_OK).error == (403, "EACCES")
    assert disk.ask("ACCESS", "/f", X_Spock_mode=8).error == (400, "EINVAL")
    assert disk.ask("ACCESS", "/none", X_Spock_mode=0).error == (404, "ENOENT")


def test_symlinks_keep_their_target_byte_for_byte(disk: Spocked) -> None:
    for target in (b"/opt/foobar", b"../../etc", b"\xff\xfe caf\xc3\xa9 %41"):
        assert disk.ask("SYMLINK", "/l", X_Spock_target=target).status == 201
        assert os.readlink(bytes(disk.at("l"))) == target  # noqa: PTH115 - bytes
        reply = disk.ask("READLINK", "/l")
        assert (reply.status, reply.body) == (200, target)
        assert disk.ask("DELETE", "/l").status == 200
    assert disk.ask("SYMLINK", "/l", X_Spock_target_encoded="%20a%0Ab%20").status == 201
    assert disk.ask("READLINK", "/l").body == b" a\nb "
    assert disk.ask("SYMLINK", "/l", X_Spock_target="x").error == (409, "EEXIST")
    assert disk.ask("SYMLINK", "/m").error == (400, "EINVAL")


def test_readlink_of_what_is_no_link(disk: Spocked) -> None:
    disk.at("f").touch()
    assert disk.ask("READLINK", "/f").error == (400, "EINVAL")
    assert disk.ask("READLINK", "/none").error == (404, "ENOENT")


def test_directories_come_and_go(disk: Spocked) -> None:
    head = disk.nas.head
    assert disk.ask("MKDIR", "/d", X_Spock_mode=0o40700).status == 201
    assert stat.S_IMODE(disk.at("d").stat().st_mode) == 0o700
    assert disk.ask("MKDIR", "/d", X_Spock_mode=0o40700).error == (409, "EEXIST")
    assert disk.ask("MKDIR", "/no/d", X_Spock_mode=0o700).error == (404, "ENOENT")
    assert disk.ask("MKDIR", "/e").error == (400, "EINVAL")
    disk.make("/d/f", b"")
    assert disk.ask("RMDIR", "/d").error == (412, "ENOTEMPTY")
    assert disk.ask("DELETE", "/d/f").status == 200
    assert disk.ask("RMDIR", "/d").status == 200
    assert disk.ask("RMDIR", "/d").error == (404, "ENOENT")
    events = [event for event in disk.events(head) if not isinstance(event, Described)]
    assert [type(event) for event in events] == [Created, Created, Removed, Removed]
    assert {event.author for event in events} == {WHO}


def test_links_are_names_of_the_same_file(disk: Spocked) -> None:
    disk.make("/f", b"data")
    assert disk.ask("LINK", "/g", X_Spock_target="/f").status == 201
    assert disk.at("g").stat().st_ino == disk.at("f").stat().st_ino
    assert disk.ask("GETATTR", "/f").number("nlink") == 2
    assert disk.ask("LINK", "/g", X_Spock_target="/f").error == (409, "EEXIST")
    assert disk.ask("LINK", "/h", X_Spock_target="/none").error == (404, "ENOENT")
    disk.at("d").mkdir()
    assert disk.ask("LINK", "/h", X_Spock_target="/d").error == (403, "EPERM")
    disk.nas.see()


def test_rename_moves_and_replaces(disk: Spocked) -> None:
    disk.make("/f", b"new")
    disk.make("/g", b"old")
    head = disk.nas.head
    assert disk.ask("RENAME", "/g", X_Spock_target="/f").status == 200
    assert disk.at("g").read_bytes() == b"new"
    assert disk.names() == [b"g"]
    assert WHO in {event.author for event in disk.events(head)}
    disk.at("d").mkdir()
    disk.at("d/x").touch()
    disk.at("e").mkdir()
    disk.at("e/x").touch()
    assert disk.ask("RENAME", "/e", X_Spock_target="/d").error == (412, "ENOTEMPTY")
    assert disk.ask("RENAME", "/d/y", X_Spock_target="/d").error == (400, "EINVAL")
    assert disk.ask("RENAME", "/h", X_Spock_target="/none").error == (404, "ENOENT")
    assert disk.ask("RENAME", "/h").error == (400, "EINVAL")
    assert disk.ask("RENAME", "/h", X_Spock_target="/g", X_Spock_flag=1).error == (400, "EINVAL")
    disk.nas.see()


def test_a_moved_directory_is_one_event(disk: Spocked) -> None:
    disk.at("d").mkdir()
    disk.at("d/f").write_bytes(b"data")
    disk.nas.see()
    head = disk.nas.head
    assert disk.ask("RENAME", "/e", X_Spock_target="/d").status == 200
    [event] = disk.events(head)
    assert isinstance(event, Moved)
    assert event.author == WHO


def test_fallocate_makes_room(disk: Spocked) -> None:
    disk.make("/f", b"data")
    reply = disk.ask("FALLOCATE", "/f", Range="bytes=400-4999", X_Spock_mode=0)
    assert reply.status == 200
    assert disk.at("f").stat().st_size == 5000
    assert disk.ask("FALLOCATE", "/f", Range="bytes=9-8", X_Spock_mode=0).error == (400, "EINVAL")
    assert disk.ask("FALLOCATE", "/f", Range="bytes=9-", X_Spock_mode=0).error == (400, "EINVAL")
    assert disk.ask("FALLOCATE", "/f", X_Spock_mode=0).error == (400, "EINVAL")
    huge = f"bytes=0-{2**63}"
    assert disk.ask("FALLOCATE", "/f", Range=huge, X_Spock_mode=0).error == (416, "EFBIG")
    assert disk.ask("FALLOCATE", "/none", Range="bytes=0-9", X_Spock_mode=0).status == 404


def test_statfs_tells_what_the_filesystem_says(disk: Spocked) -> None:
    reply, found = disk.ask("STATFS", "/"), os.statvfs(disk.path)
    assert reply.status == 200
    assert reply.number("bsize") == found.f_bsize
    assert reply.number("blocks") == found.f_blocks
    assert reply.number("namemax") == found.f_namemax
    for name in ("frsize", "bfree", "bavail", "files", "ffree", "favail", "fsid", "flag"):
        assert reply.number(name) >= 0


def test_attributes_can_be_set_listed_and_removed(disk: Spocked) -> None:
    disk.make("/f", b"data")
    head = disk.nas.head
    assert (
        disk.ask("SETXATTR", "/f", b"hello", X_Spock_target="user.foo", X_Spock_flag=0).status
        == 200
    )
    assert os.getxattr(disk.at("f"), "user.foo") == b"hello"
    assert [event.author for event in disk.made(head, b"f")] == [WHO]
    reply = disk.ask("GETXATTR", "/f", X_Spock_target="user.foo", X_Spock_size=5)
    assert (reply.status, reply.body) == (200, b"hello")
    reply = disk.ask("GETXATTR", "/f", X_Spock_target="user.foo", X_Spock_size=0)
    assert (reply.status, reply.body, reply.number("size")) == (200, b"", 5)
    reply = disk.ask("GETXATTR", "/f", X_Spock_target="user.foo", X_Spock_size=4)
    assert reply.error == (413, "ERANGE")
    # An empty value comes with neither body nor length.
    assert disk.ask("SETXATTR", "/f", X_Spock_target="user.bar", X_Spock_flag=1).status == 200
    reply = disk.ask("SETXATTR", "/f", b"x", X_Spock_target="user.bar", X_Spock_flag=1)
    assert reply.error == (409, "EEXIST")
    reply = disk.ask("SETXATTR", "/f", b"x", X_Spock_target="user.no", X_Spock_flag=2)
    assert reply.error == (415, "ENODATA")
    listed = disk.ask("LISTXATTR", "/f", X_Spock_size=4096).body
    assert sorted(listed.splitlines()) == [b"user.bar", b"user.foo"]
    assert disk.ask("LISTXATTR", "/f", X_Spock_size=0).number("size") == 18 == len(listed)
    assert disk.ask("LISTXATTR", "/f", X_Spock_size=17).error == (413, "ERANGE")
    assert disk.ask("REMOVEXATTR", "/f", X_Spock_target="user.bar").status == 200
    assert disk.ask("REMOVEXATTR", "/f", X_Spock_target="user.bar").error == (415, "ENODATA")
    assert os.listxattr(disk.at("f")) == ["user.foo"]


def test_only_attributes_of_users_are_seen_and_set(disk: Spocked) -> None:
    disk.make("/f", b"data")
    name = "security.capability"  # the kernel asks for it before each write
    reply = disk.ask("GETXATTR", "/f", X_Spock_target=name, X_Spock_size=64)
    assert reply.error == (415, "ENODATA")
    value = struct.pack("<IIIII", 0x02000001, 0xFF, 0, 0, 0)
    reply = disk.ask("SETXATTR", "/f", value, X_Spock_target=name, X_Spock_flag=0)
    assert reply.error == (403, "EPERM")
    assert disk.ask("REMOVEXATTR", "/f", X_Spock_target=name).error == (415, "ENODATA")
    reply = disk.ask("SETXATTR", "/f", bytes(65_537), X_Spock_target="user.a", X_Spock_flag=0)
    assert reply.error == (413, "E2BIG")


def test_utimens_sets_times_of_files_directories_and_links(disk: Spocked) -> None:
    disk.at("f").touch()
    disk.at("d").mkdir()
    disk.at("l").symlink_to("/etc")
    for name in ("f", "d", "l"):
        assert disk.ask("UTIMENS", f"/{name}", X_Spock_atime=1, X_Spock_mtime=2).status == 200
        found = disk.at(name).lstat()
        assert found.st_mtime == 2
    assert disk.at("f").lstat().st_atime == 1
    reply = disk.ask("UTIMENS", "/f", X_Spock_mtime=3, X_Spock_mtime_ns=5)
    assert reply.status == 200
    assert disk.at("f").stat().st_mtime_ns == 3 * 10**9 + 5
    assert disk.at("f").stat().st_atime == 1
    assert disk.ask("UTIMENS", "/f", X_Spock_mtime=-5, X_Spock_mtime_ns=1).status == 200
    assert disk.at("f").stat().st_mtime_ns == -5 * 10**9 + 1
    reply = disk.ask("GETATTR", "/f", X_Spock_ns=1)
    assert (reply.number("mtime"), reply.number("mtime-ns")) == (-5, 1)
    assert disk.ask("UTIMENS", "/f").error == (400, "EINVAL")
    assert disk.ask("UTIMENS", "/f", X_Spock_atime="x", X_Spock_mtime=1).error == (400, "EINVAL")
    assert disk.ask("UTIMENS", "/none", X_Spock_atime=1, X_Spock_mtime=2).status == 404


def test_delete_removes_names_but_no_directories(disk: Spocked) -> None:
    disk.make("/f", b"data")
    disk.at("d").mkdir()
    disk.at("l").symlink_to("d")
    assert disk.ask("DELETE", "/f").status == 200
    assert disk.ask("DELETE", "/l").status == 200
    assert disk.ask("DELETE", "/f").error == (404, "ENOENT")
    assert disk.ask("DELETE", "/d").error == (403, "EISDIR")
    assert disk.names() == [b"d"]


@pytest.mark.parametrize(
    ("first", "last", "body"),
    [(0, 4095, b"123456"), (0, 0, b"1"), (5, 5, b"6"), (4, 99, b"56"), (6, 9, b""), (99, 200, b"")],
)
def test_reads_past_the_end_are_cut_short(
    disk: Spocked, first: int, last: int, body: bytes
) -> None:
    disk.at("f").write_bytes(b"123456")
    reply = disk.get("/f", first, last)
    assert (reply.status, reply.body) == (206, body)


def test_get_knows_the_other_forms_of_a_range(disk: Spocked) -> None:
    disk.at("f").write_bytes(b"123456")
    assert disk.ask("GET", "/f").body == b"123456"
    assert disk.ask("GET", "/f", Range="bytes=-2").body == b"56"
    assert disk.ask("GET", "/f", Range="bytes=2-").body == b"3456"
    for odd in ("bytes=5-2", "lines=1-2", "bytes=0-1,3-4", "bytes=-"):
        reply = disk.ask("GET", "/f", Range=odd)
        assert (reply.status, reply.body) == (200, b"123456")
    reply = disk.ask("HEAD", "/f")
    assert (reply.status, reply.fields["content-length"], reply.body) == (200, "6", b"")


def test_only_regular_files_are_read_and_written(disk: Spocked) -> None:
    disk.at("d").mkdir()
    os.mkfifo(disk.at("p"))
    disk.at("l").symlink_to("/etc/hostname")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(disk.at("s")))
    for name, error in (("d", "EISDIR"), ("p", "EACCES"), ("s", "EACCES")):
        assert disk.get(f"/{name}").error == (403, error)
        assert disk.put(f"/{name}", b"x").error == (403, error)
        assert disk.ask("TRUNCATE", f"/{name}", X_Spock_size=0).error == (403, error)
    assert disk.get("/l").error == (404, "ELOOP")
    assert disk.put("/l", b"x").error == (404, "ELOOP")
    assert disk.get("/none").error == (404, "ENOENT")
    assert disk.put("/none", b"x").error == (404, "ENOENT")


@pytest.mark.parametrize(
    "form", ["bytes=2-4", "bytes 2-4", "bytes 2-4/*", "bytes 2-4/99", "bytes=2-4/99"]
)
def test_put_takes_any_form_of_content_range(disk: Spocked, form: str) -> None:
    disk.make("/f", b"......")
    assert disk.ask("PUT", "/f", b"abc", Content_Range=form).status == 200
    assert disk.at("f").read_bytes() == b"..abc."


@pytest.mark.parametrize(
    "form", ["bytes=2-3", "bytes=2-9", "bytes=4-2", "bytes */9", "2-4", "", "bytes=-2-4"]
)
def test_put_refuses_ranges_that_do_not_fit(disk: Spocked, form: str) -> None:
    disk.make("/f", b"......")
    assert disk.ask("PUT", "/f", b"abc", Content_Range=form).error == (400, "EINVAL")
    assert disk.ask("PUT", "/f", b"abc").error == (400, "EINVAL")
    assert disk.at("f").read_bytes() == b"......"


def test_files_may_be_larger_than_32_bits_can_count(disk: Spocked) -> None:
    disk.make("/f", b"")
    start = 5 * 2**30
    assert disk.put("/f", b"end", start).status == 200
    assert disk.ask("GETATTR", "/f").number("size") == start + 3
    assert disk.get("/f", start, start + 4095).body == b"end"
    assert disk.at("f").stat().st_blocks < 64
    reply = disk.ask("PUT", "/f", b"x", Content_Range=f"bytes={2**63 - 1}-{2**63 - 1}")
    assert reply.error == (416, "EFBIG")


def test_unknown_methods_are_said_to_be_unknown(disk: Spocked) -> None:
    for method in ("IOCTL", "PROPFIND", "CONNECT", "PATCH", "M-SEARCH"):
        reply = disk.ask(method, "/f")
        assert reply.status == 405
        assert "GETATTR" in reply.fields["allow"]


def test_options_announces_extensions(disk: Spocked) -> None:
    reply = disk.ask("OPTIONS", "/")
    assert (reply.status, reply.fields["x-spock-version"]) == (200, "0.1")
    assert "plus" in reply.fields["x-spock-extensions"]


def test_readdir_plus_has_names_and_attributes(disk: Spocked) -> None:
    disk.at("a b\n%").write_bytes(b"123")
    reply = disk.ask("READDIR", "/", X_Spock_plus=1)
    assert reply.fields["x-spock-plus"] == "1"
    lines = [line.split(b" ") for line in reply.body.splitlines()]
    [(name, mode, _, _, size, *_)] = [line for line in lines if line[0] != b"."]
    assert (name, int(size)) == (b"a%20b%0A%25", 3)
    assert stat.S_ISREG(int(mode))


def test_the_table_of_statuses_is_that_of_the_specification() -> None:
    assert {number: STATUS_OF[number] for number in _SPECIFIED} == _SPECIFIED


_SPECIFIED = {
    errno.EACCES: 403,
    errno.ENOENT: 404,
    errno.ENOSYS: 405,
    errno.EEXIST: 409,
    errno.ENOTEMPTY: 412,
    errno.ERANGE: 413,
    errno.ENODATA: 415,
    errno.EIO: 500,
}


def test_a_large_file_is_read_as_it_is_wholly_and_in_part(disk: Spocked) -> None:
    content = os.urandom(3 * 2**20 + 5)
    disk.at("f").write_bytes(content)
    assert disk.ask("GET", "/f").body == content
    first, last = 4097, 2 * 2**20 + 11
    reply = disk.get("/f", first, last)
    assert (reply.status, reply.body) == (206, content[first : last + 1])
    assert disk.ask("HEAD", "/f").body == b""
    assert disk.get("/f", len(content) - 3, len(content) + 10).body == content[-3:]
