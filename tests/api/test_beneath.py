"""No path and no race leads out of a root, and new files come whole or not at all."""

import contextlib
import ctypes
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from asyncinotify import Inotify, Mask

from api.beneath.opened import Opened
from api.beneath.paths import BadPathError, join, split
from api.beneath.reach import reach_of
from api.beneath.resolve import Resolver
from api.beneath.root import Beneath
from api.beneath.staging import OWN, STAGING, Staging
from api.beneath.syncing import SYNCER
from tests.watcher.mounting import mounted, privileged

TRIES = 20_000
_EXCHANGE = 2
READ = os.O_RDONLY | os.O_NONBLOCK


def opener(path: Path) -> Callable[[], int]:
    return lambda: os.open(path, os.O_PATH | os.O_DIRECTORY)


@pytest.fixture(params=[True, False], ids=["openat2", "step by step"])
def resolver(request: pytest.FixtureRequest) -> Resolver:
    return Resolver(by_kernel=request.param)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_bytes(b"secret")
    (path / "d").mkdir()
    (path / "d" / "f").write_bytes(b"inside")
    return path


@pytest.fixture
def beneath(root: Path, resolver: Resolver) -> Beneath:
    return Beneath(opener(root), resolver)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def read(beneath: Beneath, path: bytes) -> bytes:
    fd = beneath.open(path, READ)
    with os.fdopen(fd, "rb") as file:
        return file.read()


BAD = {
    "parent": b"..",
    "climbing": b"d/../../outside/f",
    "this": b"./d",
    "absolute": b"/etc/passwd",
    "empty name": b"d//f",
    "slash at the end": b"d/",
    "nul": b"d/f\0x",
    "long name": b"n" * 256,
    "long path": b"/".join([b"n" * 200] * 21),
}


@pytest.mark.parametrize("path", BAD.values(), ids=BAD)
def test_a_path_that_could_mean_something_else_is_refused(beneath: Beneath, path: bytes) -> None:
    with pytest.raises(BadPathError):
        beneath.open(path, READ)
    assert beneath.stat(b"d/f").st_size == 6


@pytest.mark.parametrize("path", [b"a", b"a/b\xff/\n", b"...", b"a..", b"n" * 255])
def test_all_other_bytes_are_kept(path: bytes) -> None:
    assert join(split(path)) == path


def test_a_file_is_opened_and_the_root_itself_can_be_listed(beneath: Beneath) -> None:
    assert read(beneath, b"d/f") == b"inside"
    with beneath.directory(b"") as fd, os.scandir(fd) as entries:
        assert [entry.name for entry in entries] == ["d"]


LINKS = {
    "file outside": ("l", "../outside/f", b"l"),
    "file inside": ("l", "d/f", b"l"),
    "absolute": ("l", "/etc/passwd", b"l"),
    "directory outside": ("l", "../outside", b"l/f"),
    "directory inside": ("l", "d", b"l/f"),
    "magic": ("l", "/proc/self/root", b"l/etc/passwd"),
    "loop": ("l", "l", b"l/f"),
}


@pytest.mark.parametrize("case", LINKS.values(), ids=LINKS)
def test_no_symbolic_link_is_followed(
    root: Path, beneath: Beneath, case: tuple[str, str, bytes]
) -> None:
    name, target, path = case
    (root / name).symlink_to(target)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        beneath.open(path, READ)
    assert stat.S_ISLNK(beneath.stat(b"l").st_mode)


def test_what_is_in_the_way_is_said(root: Path, beneath: Beneath) -> None:
    (root / "file").touch()
    with pytest.raises(NotADirectoryError):
        beneath.open(b"file/below", READ)
    with pytest.raises(FileNotFoundError):
        beneath.open(b"d/none", READ)


def test_a_fifo_does_not_hang(root: Path, beneath: Beneath) -> None:
    os.mkfifo(root / "fifo")
    os.close(beneath.open(b"fifo", READ))
    assert stat.S_ISFIFO(beneath.stat(b"fifo").st_mode)


class LoopError(Exception):
    """A symbolic link was in the way."""


REFUSALS = (FileNotFoundError, NotADirectoryError, LoopError)


@contextmanager
def translated_loops() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LoopError from error
        raise


@contextmanager
def exchanging(one: Path, other: Path) -> Iterator[None]:
    """Exchange two names over and over in a thread, as an attacker does."""
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    here, there = bytes(one), bytes(other)

    def attack() -> None:
        while not stop.is_set():
            assert libc.renameat2(-100, here, -100, there, _EXCHANGE) == 0

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_no_race_leads_out(root: Path, beneath: Beneath) -> None:
    """What a check of the path before opening it does not achieve, as the last part shows."""
    (root / "l").symlink_to("../outside")
    read_inside = escaped = refused = 0
    with exchanging(root / "d", root / "l"):
        for _ in range(TRIES):
            found = b""
            with contextlib.suppress(*REFUSALS), translated_loops():
                found = read(beneath, b"d/f")
            escaped += found == b"secret"
            read_inside += found == b"inside"
            refused += not found
    assert escaped == 0
    assert read_inside > 0
    assert refused > 0


def test_writing_cannot_be_lured_out_either(root: Path, beneath: Beneath) -> None:
    (root / "l").symlink_to("../outside")
    staging = Staging(beneath)
    with exchanging(root / "d", root / "l"):
        for number in range(300):
            with (
                contextlib.suppress(*REFUSALS),
                translated_loops(),
                staging.new_file(b"d/new") as new,
                beneath.entry(b"d/new") as entry,
            ):
                new.finish(number)
                new.place(entry.directory, entry.name)
    assert sorted(path.name for path in (root.parent / "outside").iterdir()) == ["f"]


def test_missing_directories_are_made_with_the_mode_of_the_one_above(
    root: Path, beneath: Beneath
) -> None:
    root.chmod(0o2775)
    assert beneath.make_directories(b"a/b/c") == [b"a", b"a/b", b"a/b/c"]
    assert beneath.make_directories(b"a/b/c") == []
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o2775


def test_a_file_in_the_way_of_directories_is_an_error(beneath: Beneath) -> None:
    with pytest.raises(NotADirectoryError):
        beneath.make_directories(b"d/f/g")


def test_only_empty_directories_are_pruned_and_never_the_root(root: Path, beneath: Beneath) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/other").touch()
    assert beneath.prune(b"a/b/c/gone") == [b"a/b/c", b"a/b"]
    (root / "a/other").unlink()
    beneath.unlink(b"d/f")
    assert beneath.prune(b"d/f") == [b"d"]
    assert beneath.prune(b"gone") == []
    assert root.is_dir()


def test_a_new_file_comes_whole_with_its_time(root: Path, beneath: Beneath) -> None:
    root.chmod(0o750)
    with Staging(beneath).new_file(b"f") as new:
        os.write(new.fd, b"content")
        assert [path.name for path in root.iterdir() if path.name != "d"] == [OWN.decode()]
        new.finish(1_000_000_000)
        with beneath.entry(b"f") as entry:
            new.place(entry.directory, entry.name)
    assert (root / "f").read_bytes() == b"content"
    found = (root / "f").stat()
    assert (found.st_mtime_ns, stat.S_IMODE(found.st_mode)) == (1_000_000_000, 0o640)
    assert list((root / os.fsdecode(STAGING)).iterdir()) == []


@pytest.mark.parametrize("finishes", [True, False])
def test_nobody_writes_to_a_file_that_has_its_place(
    root: Path, beneath: Beneath, *, finishes: bool
) -> None:
    with Inotify(sync_timeout=0) as inotify:
        inotify.add_watch(root, Mask.CLOSE_WRITE | Mask.MOVED_TO)
        with Staging(beneath).new_file(b"f") as new:
            os.write(new.fd, b"content")
            if finishes:
                new.finish(1_000_000_000)
            with beneath.entry(b"f") as entry:
                new.place(entry.directory, entry.name)
            assert os.pread(new.fd, 100, 0) == b"content"
        assert [event.mask for event in inotify] == [Mask.MOVED_TO]


def test_a_file_that_takes_the_place_of_another_keeps_its_mode(
    root: Path, beneath: Beneath
) -> None:
    (root / "d/f").chmod(0o604)
    with Staging(beneath).new_file(b"d/f") as new, beneath.entry(b"d/f") as entry:
        new.place(entry.directory, entry.name)
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o604


@pytest.mark.parametrize("path", ["f", "d/f", "d/new/deeper/f"])
def test_owner_and_mode_are_synced_with_the_content(
    root: Path, beneath: Beneath, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (root / "d").chmod(0o775)
    (root / "d/f").chmod(0o604)
    with Staging(beneath).new_file(path.encode()) as new:
        new.finish(1)
        synced = stat.S_IMODE(os.fstat(new.fd).st_mode)
        beneath.make_directories(path.rpartition("/")[0].encode())
        monkeypatch.setattr(os, "fchmod", None)
        with beneath.entry(path.encode()) as entry:
            new.place(entry.directory, entry.name)
    assert stat.S_IMODE((root / path).stat().st_mode) == synced


def test_a_mode_that_changed_meanwhile_is_taken_over(root: Path, beneath: Beneath) -> None:
    with Staging(beneath).new_file(b"d/f") as new:
        new.finish(1)
        (root / "d/f").chmod(0o604)
        with beneath.entry(b"d/f") as entry:
            new.place(entry.directory, entry.name)
    assert stat.S_IMODE((root / "d/f").stat().st_mode) == 0o604


def test_a_file_that_is_given_up_leaves_nothing(root: Path, beneath: Beneath) -> None:
    with pytest.raises(ZeroDivisionError), Staging(beneath).new_file(b"new/f") as new:
        os.write(new.fd, bytes(1 // 0))
    assert list((root / os.fsdecode(STAGING)).iterdir()) == []
    assert not (root / "new").exists()


LITTER = f"{0:032x}.__tmp__"


def test_what_a_killed_server_left_is_swept(root: Path, beneath: Beneath) -> None:
    staging = Staging(beneath)
    assert staging.sweep() == 0
    with staging.new_file(b"f"):
        (root / os.fsdecode(STAGING) / LITTER).write_bytes(b"half")
    assert staging.sweep() == 1
    assert list((root / os.fsdecode(STAGING)).iterdir()) == []


def test_what_another_process_is_writing_is_not_swept(beneath: Beneath) -> None:
    with Staging(beneath).new_file(b"f") as new:
        assert Staging(beneath).sweep() == 0
        new.finish(1)
        with beneath.entry(b"f") as entry:
            new.place(entry.directory, entry.name)
    assert Staging(beneath).sweep() == 0


def test_what_is_swept_before_it_is_locked_is_begun_anew(root: Path, beneath: Beneath) -> None:
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            Staging(beneath).sweep()

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for number in range(2_000):
            path = b"%d" % number
            with Staging(beneath).new_file(path) as new, beneath.entry(path) as entry:
                new.place(entry.directory, entry.name)
    finally:
        ended.set()
        sweeper.join()
    assert len(list(root.glob("[0-9]*"))) == 2_000


@privileged
def test_new_files_on_another_filesystem_are_written_and_swept_there(
    root: Path, beneath: Beneath
) -> None:
    point = root / "disk"
    point.mkdir()
    with mounted("-t", "tmpfs", "tmpfs", point=point):
        (point / "d").mkdir()
        with Staging(beneath).new_file(b"disk/d/new/f") as new:
            assert [path.name for path in point.iterdir() if path.name != "d"]
            beneath.make_directories(b"disk/d/new")
            with beneath.entry(b"disk/d/new/f") as entry:
                new.place(entry.directory, entry.name)
        assert (point / "d/new/f").is_file()
        (point / LITTER).touch()
        (point / "mine.__tmp__").touch()
        assert Staging(beneath).sweep() == 1
        assert sorted(path.name for path in point.iterdir()) == ["d", "mine.__tmp__"]
    assert Staging(beneath).sweep() == 0


def test_no_descriptor_is_left_open(root: Path, beneath: Beneath) -> None:
    before = descriptors()
    staging = Staging(beneath)
    (root / "l").symlink_to("d")
    for path in (b"d/f", b"l/f", b"none/f", b"d/f/x", b"new/a"):
        try:
            with staging.new_file(path) as new, beneath.entry(path) as entry:
                new.place(entry.directory, entry.name)
            beneath.make_directories(path)
        except OSError:
            continue
    assert descriptors() == before


def test_a_directory_is_opened_once_until_the_end(root: Path, beneath: Beneath) -> None:
    before = descriptors()
    with Opened(beneath) as opened:
        fd = opened.directory(b"d")
        assert opened.entry(b"d/f") == (fd, b"f")
        assert opened.entry(b"d/g") == (fd, b"g")
        assert opened.directory(b"") != fd
        assert opened.reach(b"d") == opened.reach(b"") == reach_of(fd)
        (root / "l").symlink_to("d")
        with pytest.raises(NotADirectoryError):
            opened.directory(b"l")
        with pytest.raises(FileNotFoundError):
            opened.entry(b"none/f")
        with pytest.raises(BadPathError):
            opened.entry(b"")
        assert descriptors() == before + 2
    assert descriptors() == before


def test_a_directory_that_was_missing_is_found_when_it_is_there(
    root: Path, beneath: Beneath
) -> None:
    with Opened(beneath) as opened:
        with pytest.raises(FileNotFoundError):
            opened.directory(b"later")
        (root / "later").mkdir()
        assert os.fstat(opened.directory(b"later")).st_ino == (root / "later").stat().st_ino


def test_what_was_changed_is_synced_even_if_another_has_its_path_now(
    root: Path, beneath: Beneath, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def sync(fds: list[int]) -> list[OSError | None]:
        synced.extend(os.fstat(fd).st_ino for fd in fds)
        return [None] * len(fds)

    monkeypatch.setattr(SYNCER, "sync", sync)
    inode = (root / "d").stat().st_ino
    with Opened(beneath) as opened:
        opened.entry(b"d/f")
        (root / "d").rename(root / "moved")
        (root / "d").mkdir()
        opened.sync()
    assert synced == [inode]


def test_names_that_may_not_be_on_the_disk_are_an_error(
    beneath: Beneath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SYNCER, "sync", lambda _: [None, OSError(errno.EIO, "broken")])
    with Opened(beneath) as opened, pytest.raises(OSError, match="broken"):
        opened.sync()


def test_how_far_a_rename_reaches_is_said_alike_by_all_kernels(root: Path) -> None:
    for path in (root, Path("/proc"), Path("/")):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            assert reach_of(fd) == (_mount_of(fd), path.stat().st_dev)
        finally:
            os.close(fd)


def _mount_of(fd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text("ascii").splitlines()
    return next(int(line.removeprefix("mnt_id:")) for line in lines if line.startswith("mnt_id:"))


def test_a_path_from_the_log_may_be_longer_than_the_kernel_takes_and_follows_no_link(
    beneath: Beneath, root: Path
) -> None:
    fd = os.open(root, os.O_PATH)
    for _ in range(45):
        os.mkdir(b"n" * 200, dir_fd=fd)
        below = os.open(b"n" * 200, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    os.symlink(root.parent / "outside", b"link", dir_fd=fd)
    os.close(os.open(b"f", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)
    long, before = join((b"n" * 200,) * 45), descriptors()
    os.close(beneath.open_known(long + b"/f", READ))
    for bad in (b"/link/f", b"/" + b"n" * 300, b"/../f", b"//f"):
        with pytest.raises((OSError, BadPathError)):
            beneath.open_known(long + bad, READ)
    with pytest.raises(BadPathError):
        beneath.open_known(b"n" * 5_000, READ)
    assert descriptors() == before
