"""What POSIX asks of a filesystem, through a mount: what pjdfstest checks, where it applies."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.mounted import Mounted, mounted

pytest.importorskip("pyfuse3", reason="the optional part for mounts is not installed")

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
        reason="needs root and /dev/fuse",
    ),
]

SOMEBODY = 65534
HOLE = 2**20


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(tmp_path_factory.mktemp("mount"), "--allow-other") as mount:
        yield mount


@pytest.fixture(params=["made here", "made elsewhere"])
def place(mount: Mounted, request: pytest.FixtureRequest) -> Path:
    """A directory: one where new files are told of later, and one where they are not."""
    path = mount.path / str(request.node.name).replace("/", "-").replace(" ", "-")
    if request.param == "made here":
        path.mkdir()
    else:
        (mount.disk / path.name).mkdir()
    return path


def fails(number: int, work: Callable[[], object]) -> None:
    """Assert that something fails with an error."""
    with pytest.raises(OSError, match=r"\w") as failed:
        work()
    assert errno.errorcode[failed.value.errno or 0] == errno.errorcode[number]


@contextlib.contextmanager
def opened(path: Path, flags: int, mode: int = 0o644) -> Iterator[int]:
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def inode(path: Path) -> int:
    return path.lstat().st_ino


def test_rename_over_directories(place: Path) -> None:
    for name in ("empty", "full", "moved"):
        (place / name).mkdir()
    (place / "full/f").touch()
    (place / "moved/g").touch()
    (place / "file").touch()
    fails(errno.ENOTEMPTY, lambda: (place / "moved").rename(place / "full"))
    fails(errno.EISDIR, lambda: (place / "file").rename(place / "empty"))
    fails(errno.ENOTDIR, lambda: (place / "moved").rename(place / "file"))
    fails(errno.EINVAL, lambda: (place / "moved").rename(place / "moved/below"))
    (place / "moved").rename(place / "empty")
    assert [path.name for path in (place / "empty").iterdir()] == ["g"]
    assert not (place / "moved").exists()
    fails(errno.ENOENT, lambda: (place / "moved").rename(place / "x"))


def test_rename_keeps_the_inode_and_replaces(place: Path) -> None:
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    number = inode(place / "a")
    (place / "a").rename(place / "b")
    assert (inode(place / "b"), (place / "b").read_text()) == (number, "a")
    (place / "b").rename(place / "b")
    os.link(place / "b", place / "c")
    (place / "b").rename(place / "c")  # two names of one file: nothing is done
    assert (place / "b").exists()
    assert (place / "c").exists()


def test_directories_are_removed_only_when_they_are_empty(place: Path) -> None:
    (place / "d").mkdir()
    (place / "d/f").touch()
    fails(errno.ENOTEMPTY, (place / "d").rmdir)
    fails(errno.EISDIR, lambda: os.unlink(place / "d"))  # noqa: PTH108 - as the system calls it
    fails(errno.ENOTDIR, lambda: os.rmdir(place / "d/f"))  # noqa: PTH106 - as the system calls it
    (place / "d/f").unlink()
    (place / "d").rmdir()
    fails(errno.ENOENT, (place / "d").rmdir)
    fails(errno.ENOENT, (place / "d/f").touch)


def test_names_that_are_too_long_or_go_in_circles(place: Path) -> None:
    longest = "n" * 255
    (place / longest).write_text("x")
    assert (place / longest).read_text() == "x"
    for work in (Path.touch, Path.mkdir, Path.unlink, Path.lstat):
        fails(errno.ENAMETOOLONG, lambda work=work: work(place / (longest + "n")))  # type: ignore[misc]  # each is called with a path alone
    fails(errno.ENAMETOOLONG, lambda: (place / longest).rename(place / (longest + "n")))
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    fails(errno.ELOOP, (place / "a").read_text)
    fails(errno.ELOOP, lambda: os.open(place / "a", os.O_RDONLY | os.O_NOFOLLOW))
    fails(errno.ENOTDIR, (place / longest / "x").lstat)


def test_links_are_counted(place: Path) -> None:
    (place / "a").write_text("data")
    for number in range(1, 5):
        os.link(place / "a", place / f"{number}")
        assert {path.stat().st_nlink for path in place.iterdir()} == {number + 1}
        assert len({inode(path) for path in place.iterdir()}) == 1
    (place / "a").unlink()
    assert (place / "1").stat().st_nlink == 4
    (place / "1").write_text("changed")
    assert (place / "4").read_text() == "changed"
    fails(errno.EEXIST, lambda: os.link(place / "1", place / "2"))
    fails(errno.ENOENT, lambda: os.link(place / "none", place / "x"))
    (place / "d").mkdir()
    fails(errno.EPERM, lambda: os.link(place / "d", place / "x"))
    (place / "d/e").mkdir()
    (place / "d/f").mkdir()
    assert len([path for path in (place / "d").iterdir() if path.is_dir()]) == 2


def test_a_file_without_a_name_is_written_and_read(place: Path) -> None:
    with opened(place / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"before")
        (place / "f").unlink()
        fails(errno.ENOENT, (place / "f").lstat)
        os.pwrite(fd, b"after!", 6)
        assert os.pread(fd, 100, 0) == b"beforeafter!"
        os.ftruncate(fd, 3)
        assert os.fstat(fd).st_size == 3
        (place / "f").write_text("another")
        assert os.pread(fd, 100, 0) == b"bef"
    assert (place / "f").read_text() == "another"


def test_appending_goes_to_the_end_whoever_wrote_there(place: Path) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    with opened(place / "f", flags) as one, opened(place / "f", flags) as other:
        for turn in range(20):
            os.write(one, b"1%02d" % turn)
            os.write(other, b"2%02d" % turn)
        os.lseek(one, 0, os.SEEK_SET)
        os.write(one, b"end")
    expected = b"".join(b"1%02d2%02d" % (turn, turn) for turn in range(20)) + b"end"
    assert (place / "f").read_bytes() == expected


def test_cutting_a_file_that_is_open(place: Path) -> None:
    with opened(place / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"0123456789")
        os.truncate(place / "f", 4)
        assert os.fstat(fd).st_size == 4
        os.write(fd, b"X")  # behind the end: a hole between
        assert os.pread(fd, 100, 0) == b"0123" + bytes(6) + b"X"
        with opened(place / "f", os.O_WRONLY | os.O_TRUNC) as again:
            assert os.fstat(again).st_size == 0
        assert os.pread(fd, 100, 0) == b""
    fails(errno.EINVAL, lambda: os.truncate(place / "f", -1))


def test_holes_are_zeros(place: Path) -> None:
    with opened(place / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.pwrite(fd, b"begin", 0)
        os.pwrite(fd, b"end", HOLE)
        assert os.fstat(fd).st_size == HOLE + 3
        assert os.pread(fd, 10, HOLE - 7) == bytes(7) + b"end"
        assert os.lseek(fd, 0, os.SEEK_END) == HOLE + 3
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert 5 <= os.lseek(fd, 0, os.SEEK_HOLE) <= HOLE + 3
        fails(errno.ENXIO, lambda: os.lseek(fd, HOLE + 3, os.SEEK_DATA))
        os.ftruncate(fd, 2 * HOLE)
        assert os.pread(fd, 10, 2 * HOLE - 10) == bytes(10)
    assert (place / "f").read_bytes() == (b"begin" + bytes(HOLE - 5) + b"end" + bytes(HOLE - 3))


def test_room_is_made_by_writing(mount: Mounted, place: Path) -> None:
    with opened(place / "f", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"data")
        os.pwrite(fd, b"more", 50_000)
        os.posix_fallocate(fd, 0, 100_000)
        os.posix_fallocate(fd, 2_000, 60_000)  # within what is there
        assert os.fstat(fd).st_size == 100_000
        expected = b"data" + bytes(49_996) + b"more" + bytes(49_996)
        assert os.pread(fd, 200_000, 0) == expected
        os.fsync(fd)
    assert (mount.disk / place.name / "f").read_bytes() == expected
    done = subprocess.run(
        ["fallocate", "-l", "200000", place / "f"], check=False, capture_output=True, text=True
    )
    assert "not supported" in done.stderr  # and so says what cannot do with zeros
    assert (place / "f").read_bytes() == expected


def test_times_are_set_each_by_itself(place: Path) -> None:
    (place / "f").touch()
    os.utime(place / "f", ns=(1_000_000_001, 2_000_000_002))
    before = (place / "f").stat()
    subprocess.run(["touch", "-a", "-d", "@5", place / "f"], check=True)  # mtime is UTIME_OMIT
    after = (place / "f").stat()
    assert (after.st_atime_ns, after.st_mtime_ns) == (5_000_000_000, 2_000_000_002)
    assert after.st_ctime_ns >= before.st_ctime_ns
    subprocess.run(["touch", "-m", place / "f"], check=True)  # UTIME_NOW
    assert (place / "f").stat().st_atime_ns == 5_000_000_000
    assert (place / "f").stat().st_mtime_ns > before.st_mtime_ns
    (place / "l").symlink_to("nowhere")
    os.utime(place / "l", ns=(3, 4), follow_symlinks=False)
    assert (place / "l").lstat().st_mtime_ns == 4
    (place / "d").mkdir()
    os.utime(place / "d", ns=(7, 8))
    assert (place / "d").stat().st_mtime_ns == 8


def test_what_changes_in_a_directory_changes_its_time(place: Path) -> None:
    for work in (
        (place / "f").touch,
        lambda: (place / "f").rename(place / "g"),
        lambda: os.link(place / "g", place / "h"),
        (place / "h").unlink,
        (place / "d").mkdir,
        (place / "d").rmdir,
        lambda: (place / "l").symlink_to("x"),
    ):
        os.utime(place, ns=(0, 0))
        work()
        assert place.stat().st_mtime_ns > 0


def test_modes_and_the_umask(place: Path) -> None:
    before = os.umask(0o027)
    try:
        (place / "f").touch(0o666)
        (place / "d").mkdir(0o777)
    finally:
        os.umask(before)
    assert stat.S_IMODE((place / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((place / "d").stat().st_mode) == 0o750
    for bits in (0o000, 0o400, 0o777, 0o644):
        (place / "f").chmod(bits)
        assert stat.S_IMODE((place / "f").stat().st_mode) == bits
    (place / "d").chmod(0o1777)
    assert stat.S_IMODE((place / "d").stat().st_mode) == 0o1777


def as_somebody(script: str, *words: Path) -> str:
    """Run a script as a user without rights; returns the error's name, or nothing."""
    text = (
        "import errno, os, sys\n"
        f"os.setgroups([]); os.setgid({SOMEBODY}); os.setuid({SOMEBODY})\n"
        f"try:\n    {script}\nexcept OSError as error:\n    print(errno.errorcode[error.errno])\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", text, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_others_may_do_what_the_modes_say(mount: Mounted, place: Path) -> None:
    for path in (mount.path, *mount.path.parents):
        if not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(path.stat().st_mode | stat.S_IXOTH)  # pytest's directories are private
    (place / "closed").mkdir(0o700)
    (place / "closed/f").write_text("x")
    (place / "read").write_text("x")
    (place / "read").chmod(0o644)
    (place / "secret").write_text("x")
    (place / "secret").chmod(0o600)
    assert as_somebody("open(sys.argv[1]).read()", place / "read") == ""
    assert as_somebody("open(sys.argv[1], 'w')", place / "read") == "EACCES"
    assert as_somebody("open(sys.argv[1])", place / "secret") == "EACCES"
    assert as_somebody("os.lstat(sys.argv[1])", place / "closed/f") == "EACCES"
    assert as_somebody("open(sys.argv[1], 'x')", place / "new") == "EACCES"
    assert as_somebody("os.unlink(sys.argv[1])", place / "read") == "EACCES"
    assert as_somebody("os.chmod(sys.argv[1], 0o777)", place / "read") == "EPERM"
    assert as_somebody("os.utime(sys.argv[1], (1, 1))", place / "read") == "EPERM"
    (place / "sticky").mkdir()
    (place / "sticky").chmod(0o1777)
    (place / "sticky/root's").touch()
    assert as_somebody("os.unlink(sys.argv[1])", place / "sticky/root's") == "EPERM"
    words = (place / "sticky/root's", place / "sticky/new")
    assert as_somebody("os.rename(sys.argv[1], sys.argv[2])", *words) == "EPERM"
