import errno
import os
import struct
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.serving import wait_until
from tests.watcher import confined
from tests.watcher.mounting import image, mounted, run
from watcher import fanotify_kernel as kernel
from watcher.backend import Hints, Place, Sign
from watcher.fanotify import FanotifyBackend, UnwatchableError
from watcher.fanotify_events import VERSION, Places
from watcher.fanotify_groups import Groups

pytestmark = pytest.mark.privileged

DEADLINE_SECONDS = 30

MARK = "marker"


class Scene:
    """Two watched directories, number 1 and number 2; the second one shows how far we read."""

    def __init__(self, path: Path, backend: FanotifyBackend) -> None:
        self.backend = backend
        self.one = path / "one"
        self.two = path / "two"
        self.path = path
        self.one.mkdir()
        self.two.mkdir()
        self.watch(1, self.one)
        self.watch(2, self.two)
        self._marks = 0

    def watch(self, number: int, directory: Path) -> bool:
        return watch(self.backend, number, directory)

    def until_now(self) -> Hints:
        """All that was noticed before this call: the kernel's queue keeps order."""
        self._marks += 1
        mark = Place(2, f"{MARK}{self._marks}".encode())
        (self.two / os.fsdecode(mark.name)).mkdir()
        signs = read_until(self.backend, mark)
        del signs[mark]
        return Hints(signs, overflow=False)


def watch(backend: FanotifyBackend, number: int, directory: Path) -> bool:
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        return backend.watch(number, fd)
    finally:
        os.close(fd)


def read_until(
    backend: FanotifyBackend, place: Place, sign: Sign = Sign.CREATED
) -> dict[Place, Sign]:
    signs: dict[Place, Sign] = {}
    until = monotonic() + DEADLINE_SECONDS
    while monotonic() < until:
        hints = backend.read(0.5)
        assert not hints.overflow
        for found, more in hints.signs.items():
            signs[found] = signs.get(found, Sign(0)) | more
        if place in signs and sign in signs[place]:
            return signs
    pytest.fail(f"{place} was not noticed, only {signs}")


@pytest.fixture
def backend() -> Iterator[FanotifyBackend]:
    found = FanotifyBackend()
    yield found
    found.close()


@pytest.fixture
def scene(tmp_path: Path, backend: FanotifyBackend) -> Scene:
    return Scene(tmp_path, backend)


def test_our_own_looking_is_not_noticed(scene: Scene) -> None:
    (scene.one / "file").write_bytes(b"content")
    scene.until_now()
    (scene.one / "file").read_bytes()
    list(os.scandir(scene.one))
    (scene.one / "file").stat()
    assert scene.until_now() == ({}, False)


def test_places_come_in_order_of_first_notice_with_all_their_signs(scene: Scene) -> None:
    for name in ("b", "a"):
        (scene.one / name).write_bytes(b"x")
    (scene.one / "b").unlink()
    signs = scene.until_now().signs
    assert list(signs) == [Place(1, b"b"), Place(1, b"a")]
    assert signs[Place(1, b"a")] == Sign.CREATED | Sign.WRITING | Sign.WRITTEN
    assert Sign.DELETED in signs[Place(1, b"b")]


def test_what_is_in_no_watched_directory_is_dropped(scene: Scene) -> None:
    (scene.path / "outside").mkdir()
    (scene.path / "outside" / "file").write_bytes(b"content")
    (scene.path / "outside" / "file").rename(scene.path / "file")
    assert scene.until_now() == ({}, False)


def test_one_directory_at_two_places_is_told_of_at_both(scene: Scene) -> None:
    assert scene.watch(5, scene.one)
    assert scene.watch(6, scene.one)
    (scene.one / "file").mkdir()
    assert set(scene.until_now().signs) == {Place(n, b"file") for n in (1, 5, 6)}
    scene.backend.unwatch(1)
    (scene.one / "other").mkdir()
    assert set(scene.until_now().signs) == {Place(n, b"other") for n in (5, 6)}
    scene.backend.unwatch(6)
    scene.backend.unwatch(5)
    (scene.one / "third").mkdir()
    assert scene.until_now() == ({}, False)


def test_a_number_that_gets_another_directory_keeps_only_that(scene: Scene) -> None:
    (scene.path / "three").mkdir()
    assert scene.watch(1, scene.path / "three")
    (scene.one / "file").mkdir()
    (scene.path / "three" / "file").mkdir()
    assert list(scene.until_now().signs) == [Place(1, b"file")]
    assert scene.backend.watches() == 2


def test_a_root_that_is_renamed_is_told_of_although_nobody_watches_its_parent(
    scene: Scene,
) -> None:
    scene.one.rename(scene.path / "renamed")
    assert scene.until_now().signs == {Place(1, b""): Sign.SELF}


@pytest.mark.slow
def test_a_full_queue_is_an_overflow_and_all_goes_on(tmp_path: Path) -> None:
    """A process without the rights of root has the limit of the machine."""
    backend = FanotifyBackend(unlimited=False)
    try:
        scene = Scene(tmp_path, backend)
        limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
        with backend._noticed:  # the reader waits for this
            for number in range(limit + 1000):
                os.mknod(scene.one / str(number))
        hints = backend.read(DEADLINE_SECONDS)
        while not hints.overflow:
            hints = backend.read(DEADLINE_SECONDS)
        (scene.one / "after").mkdir()
        read_until(backend, Place(1, b"after"))
    finally:
        backend.close()


@pytest.mark.slow
def test_what_comes_while_nobody_reads_is_kept_by_a_queue_without_limit(scene: Scene) -> None:
    limit = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    assert scene.backend.is_unlimited
    with scene.backend._noticed:
        for number in range(limit + 1000):
            os.mknod(scene.one / str(number))
    assert len(scene.until_now().signs) == limit + 1000


def test_more_places_than_are_held_are_an_overflow(tmp_path: Path) -> None:
    backend = FanotifyBackend(limit=10)
    try:
        scene = Scene(tmp_path, backend)
        for number in range(100):
            (scene.one / str(number)).mkdir()
        wait_until(lambda: backend.read(0.1).overflow, "places were dropped", DEADLINE_SECONDS)
    finally:
        backend.close()


def test_a_failed_reader_is_told_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> bool:
        raise ValueError("fanotify: events have layout 4, not 3")

    monkeypatch.setattr(scene.backend._places, "fold", fail)
    (scene.one / "file").mkdir()
    with pytest.raises(RuntimeError, match="layout 4"):
        scene.backend.read(DEADLINE_SECONDS)


def test_nothing_can_be_watched_once_it_is_closed(tmp_path: Path) -> None:
    backend = FanotifyBackend()
    backend.close()
    with pytest.raises(OSError, match="closed"):
        watch(backend, 1, tmp_path)


# Filesystems that come and go.


def test_a_filesystem_mounted_again_at_once_is_known_to_tell_nothing_until_it_is_watched_again(
    tmp_path: Path, backend: FanotifyBackend
) -> None:
    disk, point = image(tmp_path / "disk", "ext4", "-q"), tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        assert watch(backend, 1, point)
        (point / "file").touch()
        read_until(backend, Place(1, b"file"))
        run("umount", point)
        run("mount", "-o", "loop", disk, point)
        read_until(backend, Place(1, b""), Sign.UNMOUNTED)
        assert backend.watches() == 0
        assert watch(backend, 1, point)
        (point / "again").touch()
        read_until(backend, Place(1, b"again"))


def test_another_filesystem_at_the_same_place_is_watched_as_itself(
    tmp_path: Path, backend: FanotifyBackend
) -> None:
    for name in ("one", "other"):
        with mounted("-t", "tmpfs", name, point=tmp_path):
            (tmp_path / "directory").mkdir()
            assert watch(backend, 1, tmp_path / "directory")
            (tmp_path / "directory" / name).touch()
            read_until(backend, Place(1, name.encode()))


def test_a_filesystem_is_no_less_unmountable_for_being_marked(
    tmp_path: Path, backend: FanotifyBackend
) -> None:
    with mounted("-t", "tmpfs", "one", point=tmp_path):
        (tmp_path / "directory").mkdir()
        watch(backend, 1, tmp_path / "directory")
        run("umount", tmp_path)
    read_until(backend, Place(1, b""), Sign.SELF)


@pytest.mark.parametrize("seen_first", ["top", "subvolume"])
def test_subvolumes_of_btrfs_are_told_of_by_the_mark_on_its_top(
    tmp_path: Path, backend: FanotifyBackend, seen_first: str
) -> None:
    disk, point = image(tmp_path / "disk", "btrfs", "-q", megabytes=128), tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        run("btrfs", "-q", "subvolume", "create", point / "subvolume")
        (point / "top").mkdir()
        numbers = {"top": 1, "subvolume": 2}
        for name in sorted(numbers, key=seen_first.__ne__):
            assert watch(backend, numbers[name], point / name)
        assert backend.is_whole
        for name, number in numbers.items():
            (point / name / "file").touch()
            read_until(backend, Place(number, b"file"))


def test_a_subvolume_mounted_by_itself_has_its_directories_marked(
    tmp_path: Path, backend: FanotifyBackend
) -> None:
    disk, point = image(tmp_path / "disk", "btrfs", "-q", megabytes=128), tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        run("btrfs", "-q", "subvolume", "create", point / "subvolume")
    with mounted("-o", "loop,subvol=subvolume", disk, point=point):
        (point / "directory").mkdir()
        for number, directory in ((1, point), (2, point / "directory")):
            assert watch(backend, number, directory)
        assert not backend.is_whole
        (point / "file").touch()
        read_until(backend, Place(1, b"file"))
        (point / "directory" / "file").touch()
        read_until(backend, Place(2, b"file"))


def test_subvolumes_below_and_other_filesystems_are_told_of_as_well(
    tmp_path: Path, backend: FanotifyBackend
) -> None:
    """Of a subvolume that is mounted by itself; one group of fanotify could not mark them all."""
    disk, point = image(tmp_path / "disk", "btrfs", "-q", megabytes=128), tmp_path / "point"
    point.mkdir()
    with mounted("-o", "loop", disk, point=point):
        run("btrfs", "-q", "subvolume", "create", point / "subvolume")
        run("btrfs", "-q", "subvolume", "create", point / "subvolume" / "below")
    with mounted("-o", "loop,subvol=subvolume", disk, point=point):
        (point / "other").mkdir()
        with mounted("-t", "tmpfs", "one", point=point / "other"):
            directories = {1: point, 2: point / "below", 3: point / "other"}
            for number, directory in directories.items():
                assert watch(backend, number, directory)
            for number, directory in directories.items():
                (directory / "file").touch()
                read_until(backend, Place(number, b"file"))
        read_until(backend, Place(3, b""), Sign.SELF)


def test_the_group_of_an_unmounted_filesystem_serves_the_next_one(
    tmp_path: Path,
) -> None:
    backend = FanotifyBackend(whole=False)
    try:
        for _ in range(5):
            with mounted("-t", "tmpfs", "one", point=tmp_path):
                watch(backend, 1, tmp_path)
                (tmp_path / "file").touch()
                read_until(backend, Place(1, b"file"))
                run("umount", tmp_path)
                read_until(backend, Place(1, b""), Sign.SELF)
        links = [
            str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
        ]
        assert links.count("anon_inode:[fanotify]") == 1
    finally:
        backend.close()


def test_what_cannot_be_watched_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: FanotifyBackend
) -> None:
    """Every filesystem that this kernel has can be marked; before Linux 6.8 few without handles."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(Groups, "mark_filesystem", refuse)
    monkeypatch.setattr(Groups, "mark_directory", refuse)
    with (
        mounted("-t", "ramfs", "one", point=tmp_path),
        pytest.raises(UnwatchableError, match=f"ramfs at {tmp_path} does not tell of changes"),
    ):
        watch(backend, 1, tmp_path)


# Without the rights of root.


WITHOUT_RIGHTS = f"""
import os, sys
from watcher.backend import Place
from watcher.fanotify import FanotifyBackend
fd = os.open(sys.argv[1], os.O_PATH)
{confined.AS_NOBODY}
backend = FanotifyBackend()
assert backend.watch(1, fd)
assert not backend.is_whole and not backend.is_unlimited
os.mkdir("new", dir_fd=fd)
while Place(1, b"new") not in backend.read(30).signs:
    pass
backend.close()
print("noticed")
"""


def test_nobody_can_have_directories_watched() -> None:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_RIGHTS, directory],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout == "noticed\n", done.stderr


# Bytes of the kernel.


def record(kind: int, handle: bytes, name: bytes = b"") -> bytes:
    body = struct.pack("=QIi", 7, len(handle), 1) + handle + name
    body += b"\0" * (8 - len(body) % 8)
    return struct.pack("=BBH", kind, 0, 4 + len(body)) + body


def event(mask: int, *records: bytes, version: int = VERSION) -> bytes:
    body = b"".join(records)
    return struct.pack("=IBBHQii", 24 + len(body), version, 0, 24, mask, -1, 0) + body


@pytest.fixture
def places() -> Places:
    found = Places()
    found.numbers[struct.pack("=QIi", 7, 4, 1) + b"aaaa"] = 1
    found.numbers[struct.pack("=QIi", 7, 4, 1) + b"bbbb"] = 2
    return found


TARGET, NAMED, OLD, NEW = 1, 2, 10, 12
PROCESS = struct.pack("=BBHi", 4, 0, 8, 5)

RENAMED = {(1, b"from"): Sign.MOVED_FROM, (2, b"to"): Sign.MOVED_TO}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (event(kernel.CREATE, record(NAMED, b"aaaa", b"n")), {(1, b"n"): Sign.CREATED}),
        (
            event(kernel.CREATE | kernel.CLOSE_WRITE, record(NAMED, b"aaaa", b"n")),
            {(1, b"n"): Sign.CREATED | Sign.WRITTEN},
        ),
        (event(kernel.CREATE, record(NAMED, b"cccc", b"n")), {}),
        (
            event(kernel.RENAME, record(OLD, b"aaaa", b"from"), record(NEW, b"bbbb", b"to")),
            RENAMED,
        ),
        (
            event(kernel.RENAME, record(NEW, b"bbbb", b"to"), record(OLD, b"aaaa", b"from")),
            RENAMED,
        ),
        (
            event(kernel.DELETE | kernel.ONDIR, record(TARGET, b"bbbb"), record(99, b"aaaa")),
            {(2, b""): Sign.SELF},
        ),
        (
            event(kernel.CREATE, PROCESS, record(NAMED, b"aaaa", b"n")),
            {(1, b"n"): Sign.CREATED},
        ),
        (
            event(kernel.ATTRIB | kernel.ONDIR, record(NAMED, b"aaaa", b".")),
            {(1, b""): Sign.ATTRIBUTES},
        ),
        (event(0x10_0000, record(NAMED, b"aaaa", b"n")), {(1, b"n"): Sign.ATTRIBUTES}),
    ],
    ids=[
        "created",
        "two merged into one",
        "in a directory that nobody watches",
        "renamed",
        "renamed, with its records in the other order",
        "a record of a kind not known, and a directory that was deleted",
        "a record without a filesystem",
        "a directory's own attributes",
        "a bit not known",
    ],
)
def test_an_event_is_folded(places: Places, data: bytes, expected: dict[Place, Sign]) -> None:
    assert not places.fold(data)
    assert places.pending == expected


def test_an_overflow_has_no_records(places: Places) -> None:
    both = event(kernel.Q_OVERFLOW) + event(kernel.CREATE, record(NAMED, b"aaaa", b"n"))
    assert places.fold(both)
    assert places.pending == {(1, b"n"): Sign.CREATED}


def test_a_layout_that_is_not_known_is_refused(places: Places) -> None:
    with pytest.raises(ValueError, match="layout 4, not 3"):
        places.fold(event(kernel.CREATE, version=4))


def test_a_hundred_thousand_watches_take_less_than_35_megabytes(backend: FanotifyBackend) -> None:
    def attach(attach_one: Callable[[int, bytes], None]) -> None:
        for number in range(100_000):
            attach_one(1_000_000 + number, b"%028d" % number)

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        attach(backend._attach)
        assert tracemalloc.get_traced_memory()[0] - before < 35_000_000
    finally:
        tracemalloc.stop()
