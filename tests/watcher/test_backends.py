"""What every backend must do: the port's contract, and no operation that stays unnoticed."""

import ctypes
import errno
import os
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from eventlog.clock import SystemClock
from tests.watcher.fake_backend import FakeBackend
from tests.watcher.mounting import image, mounted, privileged, run
from watcher.backend import Backend, Hints, Place, Sign
from watcher.fanotify import FanotifyBackend
from watcher.inotify import InotifyBackend
from watcher.mounts import MountTable
from watcher.poll import PollBackend

DEADLINE_SECONDS = 30

TOP, SUB, EMPTY, NEW = 1, 2, 3, 9
"""Numbers of the directories of a `Tree`; any will do."""

Expected = dict[Place, Sign]


class Tree:
    """A directory, watched, in a place where nobody watches.

    Args:
        path: an empty directory.
        backend: what watches `top`, `top/sub` and `top/empty`.
    """

    def __init__(self, path: Path, backend: Backend) -> None:
        self.top = path / "top"
        self.sub = self.top / "sub"
        self.empty = self.top / "empty"
        self.outside = path / "outside"
        for directory in (self.top, self.sub, self.empty, self.outside):
            directory.mkdir()
        for file in (self.top / "file", self.top / "other", self.sub / "inner"):
            file.write_bytes(b"content")
        (self.outside / "stranger").write_bytes(b"content")
        self.backend = backend
        self.held: list[int] = []
        for number, directory in ((TOP, self.top), (SUB, self.sub), (EMPTY, self.empty)):
            assert self.watch(number, directory)

    def watch(self, number: int, directory: Path) -> bool:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            return self.backend.watch(number, fd)
        finally:
            os.close(fd)


def collect(backend: Backend, expected: Expected) -> Hints:
    """Read until all that is expected was noticed, or an overflow makes up for it."""
    signs: dict[Place, Sign] = {}
    until = monotonic() + DEADLINE_SECONDS
    while monotonic() < until:
        hints = backend.read(0.5)
        for place, sign in hints.signs.items():
            signs[place] = signs.get(place, Sign(0)) | sign
        if hints.overflow or all(sign in signs.get(p, Sign(0)) for p, sign in expected.items()):
            return Hints(signs, hints.overflow)
    pytest.fail(f"expected {expected}, noticed only {signs}")


BACKENDS: dict[str, Callable[[], Backend]] = {
    "inotify": InotifyBackend,
    "fanotify": FanotifyBackend,
    "fanotify before Linux 5.17": lambda: FanotifyBackend(modern=False),
    "fanotify of directories": lambda: FanotifyBackend(whole=False),
    "poll": lambda: PollBackend(SystemClock(), interval_seconds=0.05),
    "fake": FakeBackend,
}


KERNEL = [
    "inotify",
    pytest.param("fanotify", marks=pytest.mark.privileged),
    pytest.param("fanotify before Linux 5.17", marks=pytest.mark.privileged),
    "fanotify of directories",
]


@contextmanager
def opened(name: str) -> Iterator[Backend]:
    backend = BACKENDS[name]()
    try:
        yield backend
    finally:
        backend.close()


@pytest.fixture(params=[*KERNEL, "poll", "fake"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """Any backend, the fake too: what can be said without anything happening on a disk."""
    with opened(request.param) as found:
        yield found


class Places:
    """Filesystems of many types, each made when it is first asked for."""

    def __init__(self, base: Path, mounts: ExitStack) -> None:
        self._base = base
        self._mounts = mounts
        self._made: dict[str, Path] = {}

    def new(self, fs_type: str) -> Path:
        """Make an empty directory on a filesystem of a type."""
        if fs_type not in self._made:
            self._made[fs_type] = self._make(fs_type)
        return Path(tempfile.mkdtemp(dir=self._made[fs_type]))

    def _make(self, fs_type: str) -> Path:
        maker, _, within = fs_type.partition(" ")
        if maker == "tmpfs":
            return self._mounted("-t", "tmpfs", "one", name=fs_type)
        disk = image(self._base / f"{within}.{maker}", maker, "-q", megabytes=320)
        point = self._mounted("-o", "loop", disk, name=fs_type)
        if not within:
            return point
        run("btrfs", "-q", "subvolume", "create", point / "subvolume")
        if within == "subvolume":
            return point / "subvolume"
        run("umount", point)
        return self._mounted("-o", "loop,subvol=subvolume", disk, name=fs_type)

    def _mounted(self, *arguments: str | Path, name: str) -> Path:
        point = self._base / name
        point.mkdir(exist_ok=True)
        return self._mounts.enter_context(mounted(*arguments, point=point))


FILESYSTEMS = [
    "tmpfs",
    "ext4",
    "xfs",
    "btrfs",
    "btrfs subvolume",
    "btrfs subvolume mounted alone",
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with ExitStack() as mounts:
        yield Places(tmp_path_factory.mktemp("filesystems"), mounts)


@pytest.fixture(
    params=[
        "here",
        *(
            pytest.param(name, marks=[pytest.mark.privileged, pytest.mark.slow])
            for name in FILESYSTEMS
        ),
    ]
)
def directory(request: pytest.FixtureRequest, tmp_path: Path, places: Places) -> Path:
    """An empty directory, where tests run and on filesystems that are mounted for them."""
    return tmp_path if request.param == "here" else places.new(request.param)


@pytest.fixture(params=[*KERNEL, "poll"])
def tree(request: pytest.FixtureRequest, directory: Path) -> Iterator[Tree]:
    """A tree watched by a backend that looks at the disk."""
    with opened(request.param) as found:
        made = Tree(directory, found)
        yield made
        for fd in made.held:
            os.close(fd)


# No operation stays unnoticed.


def create(tree: Tree) -> Expected:
    (tree.top / "new").touch()
    return {Place(TOP, b"new"): Sign.CREATED | Sign.WRITTEN}


def write(tree: Tree) -> Expected:
    (tree.top / "file").write_bytes(b"other content")
    return {Place(TOP, b"file"): Sign.WRITING | Sign.WRITTEN}


def append(tree: Tree) -> Expected:
    with (tree.top / "file").open("ab") as file:
        file.write(b"more")
    return {Place(TOP, b"file"): Sign.WRITING | Sign.WRITTEN}


def write_and_keep_open(tree: Tree) -> Expected:
    fd = os.open(tree.top / "file", os.O_WRONLY)
    os.write(fd, b"x")
    tree.held.append(fd)
    return {Place(TOP, b"file"): Sign.WRITING}


def truncate(tree: Tree) -> Expected:
    os.truncate(tree.top / "file", 3)
    return {Place(TOP, b"file"): Sign.WRITING}


def set_times(tree: Tree) -> Expected:
    subprocess.run(["touch", "-d", "2001-02-03", tree.top / "file"], check=True)
    return {Place(TOP, b"file"): Sign.ATTRIBUTES}


def change_mode(tree: Tree) -> Expected:
    (tree.top / "file").chmod(0o600)
    return {Place(TOP, b"file"): Sign.ATTRIBUTES}


def change_mode_of_a_directory(tree: Tree) -> Expected:
    tree.sub.chmod(0o700)
    return {Place(SUB, b""): Sign.ATTRIBUTES}


def rename_within(tree: Tree) -> Expected:
    (tree.top / "file").rename(tree.top / "renamed")
    return {Place(TOP, b"file"): Sign.MOVED_FROM, Place(TOP, b"renamed"): Sign.MOVED_TO}


def rename_between(tree: Tree) -> Expected:
    (tree.top / "file").rename(tree.sub / "renamed")
    return {Place(TOP, b"file"): Sign.MOVED_FROM, Place(SUB, b"renamed"): Sign.MOVED_TO}


def rename_out(tree: Tree) -> Expected:
    (tree.top / "file").rename(tree.outside / "file")
    return {Place(TOP, b"file"): Sign.MOVED_FROM}


def rename_in(tree: Tree) -> Expected:
    (tree.outside / "stranger").rename(tree.top / "stranger")
    return {Place(TOP, b"stranger"): Sign.MOVED_TO}


def rename_over(tree: Tree) -> Expected:
    (tree.top / "file").rename(tree.top / "other")
    return {Place(TOP, b"file"): Sign.MOVED_FROM, Place(TOP, b"other"): Sign.MOVED_TO}


def exchange(tree: Tree) -> Expected:
    libc = ctypes.CDLL(None, use_errno=True)
    at_fdcwd, rename_exchange = -100, 2
    names = os.fsencode(tree.top / "file"), os.fsencode(tree.sub / "inner")
    if libc.renameat2(at_fdcwd, names[0], at_fdcwd, names[1], rename_exchange):
        pytest.skip(f"renameat2: {os.strerror(ctypes.get_errno())}")
    both = Sign.MOVED_FROM | Sign.MOVED_TO
    return {Place(TOP, b"file"): both, Place(SUB, b"inner"): both}


def link(tree: Tree) -> Expected:
    (tree.sub / "linked").hardlink_to(tree.top / "file")
    # The other name's link count has changed; inotify says so of the name that was given.
    return {Place(SUB, b"linked"): Sign.CREATED}


def symlink(tree: Tree) -> Expected:
    (tree.top / "link").symlink_to("nowhere")
    return {Place(TOP, b"link"): Sign.CREATED}


def fifo(tree: Tree) -> Expected:
    os.mkfifo(tree.top / "fifo")
    return {Place(TOP, b"fifo"): Sign.CREATED}


def bind_socket(tree: Tree) -> Expected:
    with socket.socket(socket.AF_UNIX) as server:
        fd = os.open(tree.top, os.O_PATH)
        server.bind(f"/proc/self/fd/{fd}/socket")
        os.close(fd)
    return {Place(TOP, b"socket"): Sign.CREATED}


def unlink(tree: Tree) -> Expected:
    (tree.top / "file").unlink()
    return {Place(TOP, b"file"): Sign.DELETED}


def make_directory(tree: Tree) -> Expected:
    (tree.top / "new").mkdir()
    return {Place(TOP, b"new"): Sign.CREATED}


def remove_directory(tree: Tree) -> Expected:
    tree.empty.rmdir()
    return {Place(TOP, b"empty"): Sign.DELETED, Place(EMPTY, b""): Sign.SELF}


def remove_and_make_directory_again(tree: Tree) -> Expected:
    tree.empty.rmdir()
    tree.empty.mkdir()
    return {Place(TOP, b"empty"): Sign.DELETED | Sign.CREATED, Place(EMPTY, b""): Sign.SELF}


def link_unnamed_file(tree: Tree) -> Expected:
    try:
        fd = os.open(tree.top, os.O_TMPFILE | os.O_WRONLY)
    except OSError as error:
        pytest.skip(f"O_TMPFILE: {error}")
    directory = os.open(tree.top, os.O_PATH)
    os.write(fd, b"content")
    os.link(f"/proc/self/fd/{fd}", "named", dst_dir_fd=directory, follow_symlinks=True)
    os.close(fd)
    os.close(directory)
    return {Place(TOP, b"named"): Sign.CREATED}


def move_directory_then_change_in_it(tree: Tree) -> Expected:
    tree.sub.rename(tree.empty / "moved")
    (tree.empty / "moved" / "inner").write_bytes(b"other")
    return {
        Place(TOP, b"sub"): Sign.MOVED_FROM,
        Place(EMPTY, b"moved"): Sign.MOVED_TO,
        Place(SUB, b"inner"): Sign.WRITTEN,
    }


def name_of_any_bytes(tree: Tree) -> Expected:
    name = b"\xff\xfe\n\t'" + b"x" * 200
    (tree.top / os.fsdecode(name)).touch()
    return {Place(TOP, name): Sign.CREATED}


def name_of_the_greatest_length(tree: Tree) -> Expected:
    (tree.top / ("n" * 255)).touch()
    return {Place(TOP, b"n" * 255): Sign.CREATED}


def set_attribute(tree: Tree) -> Expected:
    try:
        os.setxattr(tree.top / "file", "user.tag", b"1")
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        pytest.skip("no extended attributes here")
    return {Place(TOP, b"file"): Sign.ATTRIBUTES}


OPERATIONS = [
    create,
    write,
    append,
    write_and_keep_open,
    truncate,
    set_times,
    change_mode,
    change_mode_of_a_directory,
    rename_within,
    rename_between,
    rename_out,
    rename_in,
    rename_over,
    exchange,
    link,
    symlink,
    fifo,
    bind_socket,
    unlink,
    make_directory,
    remove_directory,
    remove_and_make_directory_again,
    link_unnamed_file,
    move_directory_then_change_in_it,
    name_of_any_bytes,
    name_of_the_greatest_length,
    set_attribute,
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_it_is_noticed(tree: Tree, operation: Callable[[Tree], Expected]) -> None:
    collect(tree.backend, operation(tree))


@privileged
def test_a_device_is_noticed(tree: Tree) -> None:
    os.mknod(tree.top / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    collect(tree.backend, {Place(TOP, b"null"): Sign.CREATED})


@privileged
def test_a_mount_over_a_directory_is_noticed_by_backend_or_mount_table(tree: Tree) -> None:
    table = MountTable()
    with mounted("-t", "tmpfs", "one", point=tree.empty):
        if tree.backend.name == "poll":
            collect(tree.backend, {Place(EMPTY, b""): Sign.SELF})
        # inotify is silent about mounts, so the observer asks the table.
        assert table.refresh(DEADLINE_SECONDS)
        assert len(table.below(os.fsencode(tree.top))) == 1
    table.close()


@privileged
def test_an_unmount_of_a_watched_filesystem_is_noticed(tree: Tree) -> None:
    with mounted("-t", "tmpfs", "one", point=tree.empty):
        assert tree.watch(NEW, tree.empty)
        (tree.empty / "file").touch()
        collect(tree.backend, {Place(NEW, b"file"): Sign.CREATED})
        subprocess.run(["umount", tree.empty], check=True)
        collect(tree.backend, {Place(NEW, b""): Sign.SELF})


def test_what_happens_in_a_new_directory_is_noticed_once_it_is_watched(tree: Tree) -> None:
    (tree.top / "new").mkdir()
    assert tree.watch(NEW, tree.top / "new")
    (tree.top / "new" / "file").touch()
    collect(tree.backend, {Place(NEW, b"file"): Sign.CREATED})


def test_a_directory_made_again_is_noticed_under_its_number(tree: Tree) -> None:
    for _ in range(20):
        tree.empty.rmdir()
        tree.empty.mkdir()
        tree.watch(EMPTY, tree.empty)
        (tree.empty / "file").touch()
        collect(tree.backend, {Place(EMPTY, b"file"): Sign.CREATED})
        (tree.empty / "file").unlink()


def test_a_whole_tree_that_is_removed_is_noticed(tree: Tree) -> None:
    subprocess.run(["rm", "-rf", tree.top], check=True)
    collect(
        tree.backend,
        {
            Place(TOP, b"file"): Sign.DELETED,
            Place(SUB, b"inner"): Sign.DELETED,
            Place(TOP, b"sub"): Sign.DELETED,
            Place(TOP, b""): Sign.SELF,
        },
    )


@pytest.mark.slow
@pytest.mark.parametrize("directory", ["here"], indirect=True)
def test_of_a_burst_every_name_is_noticed_or_an_overflow(tree: Tree) -> None:
    names = [b"%05d" % i for i in range(30_000)]
    directory = os.fsencode(tree.top)
    for name in names:
        os.mknod(directory + b"/" + name)
    collect(tree.backend, {Place(TOP, name): Sign.CREATED for name in names})


# The contract.


@pytest.fixture
def fds(tmp_path: Path) -> Iterator[list[int]]:
    """Descriptors of two directories."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(os.open(tmp_path / name, os.O_PATH | os.O_DIRECTORY))
    yield found
    for fd in found:
        os.close(fd)


def test_a_watch_is_new_once(backend: Backend, fds: list[int]) -> None:
    assert backend.watch(1, fds[0])
    assert not backend.watch(1, fds[0])
    assert backend.watches() == 1


def test_two_numbers_of_one_directory_are_both_new(backend: Backend, fds: list[int]) -> None:
    assert backend.watch(1, fds[0])
    assert backend.watch(2, fds[0])
    assert backend.watches() == 2


def test_unwatching_makes_the_next_watch_new(backend: Backend, fds: list[int]) -> None:
    backend.watch(1, fds[0])
    backend.unwatch(1)
    assert backend.watches() == 0
    assert backend.watch(1, fds[0])


def test_an_unknown_number_can_be_unwatched(backend: Backend, fds: list[int]) -> None:
    backend.watch(1, fds[0])
    backend.unwatch(7)
    assert backend.watches() == 1


def test_reading_without_waiting_returns_at_once(backend: Backend) -> None:
    assert backend.read(0).signs == {}


def test_a_wake_before_the_read_ends_it(backend: Backend) -> None:
    backend.wake()
    start = monotonic()
    backend.read(DEADLINE_SECONDS)
    assert monotonic() - start < DEADLINE_SECONDS


def read_in_thread(backend: Backend) -> tuple[threading.Thread, list[Hints]]:
    hints: list[Hints] = []
    thread = threading.Thread(target=lambda: hints.append(backend.read(10 * DEADLINE_SECONDS)))
    thread.start()
    return thread, hints


def test_a_wake_from_another_thread_ends_a_read(backend: Backend) -> None:
    thread, hints = read_in_thread(backend)
    backend.wake()
    thread.join(DEADLINE_SECONDS)
    assert [found.signs for found in hints] == [{}]


def test_a_close_from_another_thread_ends_a_read(backend: Backend) -> None:
    thread, hints = read_in_thread(backend)
    backend.close()
    thread.join(DEADLINE_SECONDS)
    assert [found.signs for found in hints] == [{}]


def test_one_wake_ends_one_read(backend: Backend) -> None:
    backend.wake()
    backend.wake()
    backend.read(0)
    assert backend.read(0).signs == {}


def test_it_can_be_closed_twice_and_then_read_without_waiting(backend: Backend) -> None:
    backend.close()
    backend.close()
    start = monotonic()
    for _ in range(2):
        assert backend.read(DEADLINE_SECONDS).signs == {}
    assert monotonic() - start < DEADLINE_SECONDS


# The fake itself.


def test_the_fake_joins_the_signs_of_a_place_in_order_of_first_notice(fds: list[int]) -> None:
    fake = FakeBackend()
    fake.watch(1, fds[0])
    fake.notice(1, b"b", Sign.CREATED)
    fake.notice(1, b"a", Sign.CREATED)
    fake.notice(1, b"b", Sign.WRITTEN)
    signs = fake.read(0).signs
    assert list(signs.items()) == [
        (Place(1, b"b"), Sign.CREATED | Sign.WRITTEN),
        (Place(1, b"a"), Sign.CREATED),
    ]
    assert fake.read(0) == ({}, False)


def test_the_fake_loses_what_was_noticed_before_an_overflow(fds: list[int]) -> None:
    fake = FakeBackend()
    fake.watch(1, fds[0])
    fake.notice(1, b"a", Sign.CREATED)
    fake.overflow()
    fake.notice(1, b"b", Sign.CREATED)
    assert fake.read(0) == ({Place(1, b"b"): Sign.CREATED}, True)
    assert fake.read(0) == ({}, False)


def test_the_fake_notices_nothing_in_a_directory_that_is_not_watched() -> None:
    with pytest.raises(LookupError, match="5 is not watched"):
        FakeBackend().notice(5, b"a", Sign.CREATED)
