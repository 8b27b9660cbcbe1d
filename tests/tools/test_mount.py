"""Work in a mount as in a local directory, through the kernel; needs root and /dev/fuse."""

import errno
import filecmp
import mmap
import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.serving import wait_until
from tests.tools.mounted import Mounted, mounted, settle

pytest.importorskip("pyfuse3", reason="the optional part for mounts is not installed")

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
        reason="needs root and /dev/fuse",
    ),
]

GIT = [
    *("git", "-c", "safe.directory=*", "-c", "user.name=n", "-c", "user.email=e@example.org"),
    *("-c", "init.defaultBranch=main", "-c", "gc.auto=0"),
]


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(tmp_path_factory.mktemp("mount"), "--cache", "60") as mount:
        yield mount


def run(*words: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
    )
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.fixture
def place(mount: Mounted, request: pytest.FixtureRequest) -> Path:
    path = mount.path / str(request.node.name)
    path.mkdir()
    return path


def served(mount: Mounted, path: Path) -> Path:
    """Return where the server has what is at a path of the mount, all of it."""
    settle(path.parent)
    return mount.disk / path.relative_to(mount.path)


def test_a_file_is_written_and_read_back(mount: Mounted, place: Path) -> None:
    file = place / "f"
    data = os.urandom(3 * 2**20 + 7)
    file.write_bytes(data)
    assert file.read_bytes() == data
    assert served(mount, file).read_bytes() == data
    with file.open("r+b") as opened:
        opened.seek(1000)
        opened.write(b"middle")
        opened.seek(0, os.SEEK_END)
        opened.write(b"end")
    expected = data[:1000] + b"middle" + data[1006:] + b"end"
    assert file.read_bytes() == expected
    assert file.stat().st_size == len(expected)
    wait_until(lambda: "f" in mount.server.names())


def test_a_file_that_is_written_anew_has_nothing_left_of_before(
    mount: Mounted, place: Path
) -> None:
    theirs = mount.disk / place.name / "theirs"
    theirs.write_text("theirs, a long one")
    wait_until((place / "theirs").exists, "it is seen")
    (place / "mine").write_text("mine, a long one")
    for path in (place / "theirs", place / "mine"):
        for text in ("shorter", "new", ""):
            path.write_text(text)
            assert (path.read_text(), path.stat().st_size) == (text, len(text))
            assert served(mount, path).read_text() == text
    with (place / "mine").open("w") as first, (place / "mine").open("w") as second:
        first.write("first")
        first.flush()
        assert (place / "mine").read_text() == "first"
        second.write("2")
    assert (place / "mine").read_text() == "2irst"


def test_what_is_appended_in_small_pieces_is_all_there(mount: Mounted, place: Path) -> None:
    file = place / "log"
    with file.open("ab", buffering=0) as opened:
        for number in range(2_000):
            opened.write(b"%08d\n" % number)
            if number % 500 == 0:
                assert file.stat().st_size == 9 * (number + 1)
    assert file.read_bytes() == b"".join(b"%08d\n" % number for number in range(2_000))
    assert served(mount, file).stat().st_size == 18_000


def test_what_is_written_and_not_closed_arrives_soon(mount: Mounted, place: Path) -> None:
    with (place / "f").open("wb", buffering=0) as opened:
        opened.write(b"waits")
        theirs = mount.disk / place.name / "f"
        wait_until(lambda: theirs.exists() and theirs.read_bytes() == b"waits", "it arrives")


def test_names_are_moved_linked_and_removed(mount: Mounted, place: Path) -> None:
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    (place / "a").rename(place / "b")
    assert (place / "b").read_text() == "a"
    assert [path.name for path in place.iterdir()] == ["b"]
    os.link(place / "b", place / "c")
    assert (place / "c").stat().st_nlink == 2
    assert (place / "c").samefile(place / "b")
    (place / "l").symlink_to("../anywhere")
    assert os.readlink(place / "l") == "../anywhere"  # noqa: PTH115 - as the shell does
    (place / "d/e").mkdir(parents=True)
    (place / "d/e/f").write_text("f")
    (place / "d").rename(place / "g")
    assert (place / "g/e/f").read_text() == "f"
    with pytest.raises(OSError, match="not empty"):
        (place / "g").rmdir()
    with pytest.raises(FileExistsError):
        (place / "g").mkdir()
    with pytest.raises(FileExistsError):
        os.open(place / "b", os.O_CREAT | os.O_EXCL)
    with pytest.raises(FileNotFoundError):
        (place / "none").read_text()
    with pytest.raises(IsADirectoryError):
        (place / "g").write_text("x")
    with pytest.raises(NotADirectoryError):
        (place / "b/x").write_text("x")
    (place / "b").unlink()
    assert (place / "c").read_text() == "a"
    assert not served(mount, place / "b").exists()


def test_attributes_are_kept(mount: Mounted, place: Path) -> None:
    file = place / "f"
    file.write_bytes(b"123456")
    file.chmod(0o640)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    os.utime(file, ns=(1_000_000_001, 2_000_000_002))
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (1_000_000_001, 2_000_000_002)
    os.truncate(file, 3)
    assert file.read_bytes() == b"123"
    os.truncate(file, 10)
    assert file.read_bytes() == b"123" + bytes(7)
    with pytest.raises(PermissionError):
        os.chown(file, 12345, 12345)
    assert os.statvfs(place).f_namemax == 255
    assert served(mount, file).stat().st_mode == file.stat().st_mode


def test_extended_attributes(place: Path) -> None:
    file = place / "f"
    file.touch()
    os.setxattr(file, "user.a", b"value")
    os.setxattr(file, "user.empty", b"")
    assert os.getxattr(file, "user.a") == b"value"
    assert sorted(os.listxattr(file)) == ["user.a", "user.empty"]
    with pytest.raises(OSError, match="exists") as failed:
        os.setxattr(file, "user.a", b"x", os.XATTR_CREATE)
    assert failed.value.errno == errno.EEXIST
    os.removexattr(file, "user.a")
    with pytest.raises(OSError, match="No data"):
        os.getxattr(file, "user.a")


def test_special_files(place: Path) -> None:
    os.mkfifo(place / "p")
    assert stat.S_ISFIFO((place / "p").lstat().st_mode)
    with pytest.raises(PermissionError):
        os.mknod(place / "n", stat.S_IFCHR | 0o600, os.makedev(1, 3))


@pytest.mark.parametrize("name", [b"a b ", b"new\nline", b"\xff\xfe", b"%41?#", b"caf\xc3\xa9"])
def test_names_are_bytes(mount: Mounted, name: bytes) -> None:
    top = bytes(mount.path) + b"/"
    with open(top + name, "wb") as file:  # noqa: PTH123 - bytes
        file.write(b"data")
    assert name in os.listdir(top)  # noqa: PTH208 - bytes
    os.rename(top + name, top + name + b"2")  # noqa: PTH104 - bytes
    os.unlink(top + name + b"2")  # noqa: PTH108 - bytes
    assert name + b"2" not in os.listdir(bytes(mount.disk))  # noqa: PTH208 - bytes


def test_a_removed_file_lives_as_long_as_it_is_open(mount: Mounted, place: Path) -> None:
    file = place / "f"
    file.write_bytes(b"before")
    with file.open("r+b", buffering=0) as opened:
        file.unlink()
        assert not file.exists()
        opened.write(b"AFTER")
        opened.seek(0)
        assert opened.read() == b"AFTERe"
    wait_until(lambda: not list(served(mount, place).iterdir()), "nothing is left of it")


def test_a_replaced_file_lives_as_long_as_it_is_open(mount: Mounted, place: Path) -> None:
    (place / "f").write_bytes(b"old")
    (place / "g").write_bytes(b"new")
    with (place / "f").open("rb") as opened:
        (place / "g").rename(place / "f")
        assert opened.read() == b"old"
    assert (place / "f").read_bytes() == b"new"
    wait_until(lambda: len(list(served(mount, place).iterdir())) == 1, "nothing else is left")


def test_files_can_be_mapped(place: Path) -> None:
    file = place / "f"
    data = os.urandom(300_000)
    file.write_bytes(data)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == data


def test_what_others_do_is_seen(mount: Mounted, place: Path) -> None:
    (place / "f").write_text("mine")
    (served(mount, place) / "f").write_text("theirs, longer")
    (served(mount, place) / "g").write_text("new")
    wait_until(lambda: (place / "f").read_text() == "theirs, longer", "the new text is read")
    wait_until(lambda: sorted(p.name for p in place.iterdir()) == ["f", "g"], "all is listed")


def test_what_others_do_is_seen_long_before_a_time_out(mount: Mounted, place: Path) -> None:
    file, theirs = place / "f", served(mount, place) / "f"
    for turn in range(5):
        assert not file.exists()  # the kernel remembers that, too
        theirs.write_text(f"{turn}")
        wait_until(file.exists, "it is there", 20)
        assert file.read_text() == f"{turn}"
        theirs.write_text(f"{turn} longer")
        wait_until(lambda: file.read_text().endswith("longer"), "it is read", 20)
        theirs.rename(theirs.with_name("g"))
        wait_until(lambda: (place / "g").exists() and not file.exists(), "it was renamed", 20)
        (theirs.with_name("g")).unlink()
        wait_until(lambda: not (place / "g").exists(), "it is gone", 20)


def test_git_works_in_it(place: Path) -> None:
    origin = place / "origin"
    origin.mkdir()
    run(*GIT, "init", "-q", cwd=origin)
    for number in range(20):
        (origin / f"d{number % 3}").mkdir(exist_ok=True)
        (origin / f"d{number % 3}" / f"{number}.txt").write_text(f"{number}\n" * 50)
    run(*GIT, "add", "-A", cwd=origin)
    run(*GIT, "commit", "-qm", "first", cwd=origin)
    run(*GIT, "clone", "-q", origin, place / "clone")
    assert run(*GIT, "status", "--porcelain", cwd=place / "clone") == ""
    (place / "clone/d0/0.txt").write_text("changed")
    assert run(*GIT, "status", "--porcelain", cwd=place / "clone") == " M d0/0.txt\n"
    run(*GIT, "fsck", "--strict", cwd=place / "clone")


def test_an_archive_is_unpacked_as_it_was(place: Path, tmp_path: Path) -> None:
    stdlib, original = Path(sysconfig.get_path("stdlib")), tmp_path / "python"
    # Of the installation what every one has; the rest is large, or changes while it is used.
    left_out = [f"--exclude={name}" for name in ("site-packages", "test", "__pycache__", "*.so")]
    original.mkdir()
    run("tar", "-C", stdlib, *left_out, "-cf", tmp_path / "lib.tar", ".")
    run("tar", "-C", original, "--no-same-owner", "-xpf", tmp_path / "lib.tar")
    run("tar", "-C", original.parent, "-cf", tmp_path / "a.tar", original.name)
    run("tar", "-C", place, "--no-same-owner", "-xpf", tmp_path / "a.tar")
    run("diff", "-r", original, place / original.name)
    names = [path.relative_to(original) for path in original.rglob("*")]
    assert names
    for name in names:
        was, is_ = (original / name).lstat(), (place / original.name / name).lstat()
        assert (was.st_mode, was.st_size) == (is_.st_mode, is_.st_size)
        assert (
            stat.S_ISDIR(was.st_mode)
            or was.st_mtime_ns == is_.st_mtime_ns
            or (int(was.st_mtime) == int(is_.st_mtime))
        )
    assert not filecmp.dircmp(original, place / original.name).diff_files


def test_a_database_works_in_it(place: Path) -> None:
    file = place / "d.sqlite"
    connection = apsw.Connection(str(file))
    connection.execute("create table t (a integer primary key, b text)")
    with connection:
        rows = [(str(number) * 100,) for number in range(500)]
        connection.executemany("insert into t (b) values (?)", rows)
    with connection:
        connection.execute("delete from t where a % 2")
    assert list(connection.execute("pragma integrity_check")) == [("ok",)]
    connection.close()
    connection = apsw.Connection(str(file))
    assert list(connection.execute("select count(*) from t")) == [(250,)]
    connection.close()


def test_a_mount_can_be_for_reading_only(tmp_path: Path) -> None:
    with mounted(tmp_path, "--read-only") as mount:
        (mount.disk / "f").write_text("data")
        assert (mount.path / "f").read_text() == "data"
        with pytest.raises(OSError, match="Read-only") as failed:
            (mount.path / "f").write_text("x")
        assert failed.value.errno == errno.EROFS


def test_a_time_before_1970_is_kept(place: Path) -> None:
    (place / "f").touch()
    os.utime(place / "f", ns=(-1_500_000_000, -2_500_000_001))
    assert (place / "f").stat().st_mtime_ns == -2_500_000_001


def test_a_server_that_comes_back_is_found_again(tmp_path: Path) -> None:
    with mounted(tmp_path, "--cache", "0") as mount:
        (mount.path / "f").write_text("data")
        mount.server.kill()
        with pytest.raises(OSError, match="Input/output") as failed:
            (mount.path / "g").write_text("x")
        assert failed.value.errno == errno.EIO
        mount.server.start()
        wait_until(lambda: _writes(mount.path / "g"), "it is there again")
        (mount.disk / "f").write_text("theirs")
        wait_until(lambda: (mount.path / "f").read_text() == "theirs", "changes are told again")


def _writes(path: Path) -> bool:
    try:
        path.write_text("data")
    except OSError:
        return False
    return True


def test_what_cannot_be_mounted_is_said_in_one_line(tmp_path: Path) -> None:
    for url, path in (
        ("ftp://x", "."),
        ("http://127.0.0.1:1/", str(tmp_path)),
        ("http://x", "/no"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "tools", "mount", url, path],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
