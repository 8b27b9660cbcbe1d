import errno
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest
from asyncinotify import Mask

from tests.watcher.confined import in_user_namespace
from watcher.backend import Place, Sign
from watcher.inotify import _HEADER, InotifyBackend
from watcher.sysctl import watch_limit

DEADLINE_SECONDS = 30
MARK = b"marker"


class Scene:
    """Two watched directories, number 1 and number 2; the second one shows how far we read."""

    def __init__(self, path: Path, backend: InotifyBackend) -> None:
        self.backend = backend
        self.one = path / "one"
        self.two = path / "two"
        self.path = path
        self.one.mkdir()
        self.two.mkdir()
        self.watch(1, self.one)
        self.watch(2, self.two)
        self.marks = 0

    def watch(self, number: int, directory: Path) -> bool:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        try:
            return self.backend.watch(number, fd)
        finally:
            os.close(fd)

    def until_now(self) -> tuple[dict[Place, Sign], bool]:
        """All that was noticed before this call: the kernel's queue keeps order."""
        self.marks += 1
        mark = Place(2, MARK + b"%d" % self.marks)
        (self.two / os.fsdecode(mark.name)).mkdir()
        signs: dict[Place, Sign] = {}
        until = monotonic() + DEADLINE_SECONDS
        overflow = False
        while mark not in signs and monotonic() < until:
            hints = self.backend.read(0.5)
            for place, sign in hints.signs.items():
                signs[place] = signs.get(place, Sign(0)) | sign
            overflow |= hints.overflow
            if overflow:
                return signs, True
        del signs[mark]
        return signs, overflow


@pytest.fixture
def backend() -> Iterator[InotifyBackend]:
    found = InotifyBackend()
    yield found
    found.close()


@pytest.fixture
def scene(tmp_path: Path, backend: InotifyBackend) -> Scene:
    return Scene(tmp_path, backend)


def event(wd: int, mask: int, name: bytes = b"") -> bytes:
    """An event as the kernel writes it: the name is padded to 16 bytes."""
    padded = name + b"\0" * (16 - len(name) % 16) if name else b""
    return _HEADER.pack(wd, mask, 0, len(padded)) + padded


def wait_for(true: Callable[[], bool]) -> None:
    until = monotonic() + DEADLINE_SECONDS
    pause = threading.Event()
    while not true():
        assert monotonic() < until
        pause.wait(0.005)


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
    signs, _ = scene.until_now()
    assert list(signs) == [Place(1, b"b"), Place(1, b"a")]
    assert signs[Place(1, b"a")] == Sign.CREATED | Sign.WRITING | Sign.WRITTEN
    assert Sign.DELETED in signs[Place(1, b"b")]


def test_what_is_written_to_an_unlinked_file_is_no_news(scene: Scene) -> None:
    with (scene.one / "file").open("wb") as file:
        (scene.one / "file").unlink()
        scene.until_now()
        file.write(b"content")
    assert scene.until_now() == ({}, False)


# Descriptors and numbers.


def test_one_directory_at_two_places_is_told_of_at_both(scene: Scene) -> None:
    assert scene.watch(5, scene.one)
    assert scene.watch(6, scene.one)
    (scene.one / "file").mkdir()
    signs, _ = scene.until_now()
    assert signs == {Place(number, b"file"): Sign.CREATED for number in (1, 5, 6)}


def test_a_directory_at_two_places_stays_watched_until_both_are_forgotten(scene: Scene) -> None:
    scene.watch(5, scene.one)
    scene.watch(6, scene.one)
    scene.backend.unwatch(1)
    scene.backend.unwatch(6)
    (scene.one / "file").mkdir()
    assert scene.until_now() == ({Place(5, b"file"): Sign.CREATED}, False)
    scene.backend.unwatch(5)
    (scene.one / "again").mkdir()
    assert scene.until_now() == ({}, False)


def test_a_number_that_gets_another_directory_leaves_the_old_one(scene: Scene) -> None:
    new = scene.path / "new"
    new.mkdir()
    assert scene.watch(1, new)
    (scene.one / "unseen").mkdir()
    (new / "seen").mkdir()
    # The end of the old watch is in the queue as well, and must not end the new one.
    assert scene.until_now() == ({Place(1, b"seen"): Sign.CREATED}, False)
    assert scene.backend.watches() == 2


def test_what_an_unwatched_directory_had_to_say_is_no_overflow(scene: Scene) -> None:
    wd = scene.backend._wd_of[1]
    scene.backend.unwatch(1)
    # What was in the queue before the kernel's own end of the watch, read only now.
    scene.backend._take(event(wd, Mask.CREATE, b"late") + event(wd, Mask.IGNORED))
    assert scene.until_now() == ({}, False)


def test_descriptors_of_the_past_are_not_kept(scene: Scene) -> None:
    backend = scene.backend
    for _ in range(3):
        scene.watch(7, scene.one)
        scene.watch(1, scene.two)
        scene.watch(7, scene.two)
        scene.watch(1, scene.one)
        scene.until_now()

    def is_forgotten() -> bool:
        scene.until_now()
        return not backend._retired and not backend._retired_before

    wait_for(is_forgotten)


def test_the_end_of_a_directory_frees_everything_about_it(scene: Scene) -> None:
    scene.watch(5, scene.one)
    scene.one.rmdir()
    signs, _ = scene.until_now()
    assert {Place(1, b""), Place(5, b"")} <= set(signs)
    assert scene.backend.watches() == 1
    assert len(scene.backend._number_of) == 1
    assert not scene.backend._others_of


# Events that are read before `watch` could say whose they are.


def test_they_are_given_to_the_directory_when_it_is_known(
    tmp_path: Path, backend: InotifyBackend
) -> None:
    backend._take(event(1, Mask.CREATE, b"early"))
    fd = os.open(tmp_path, os.O_PATH)
    backend.watch(9, fd)
    os.close(fd)
    assert backend.read(0) == ({Place(9, b"early"): Sign.CREATED}, False)


def test_the_end_of_a_watch_may_be_among_them(tmp_path: Path, backend: InotifyBackend) -> None:
    backend._take(event(1, Mask.IGNORED))
    fd = os.open(tmp_path, os.O_PATH)
    backend.watch(9, fd)
    os.close(fd)
    assert backend.read(0) == ({Place(9, b""): Sign.SELF}, False)
    assert backend.watches() == 0


def test_nobody_to_give_them_to_is_an_overflow(backend: InotifyBackend) -> None:
    backend._take(event(77, Mask.CREATE, b"whose"))
    assert backend.read(0) == ({}, True)
    assert backend.read(0) == ({}, False)


def test_the_late_end_of_a_watch_is_no_overflow(backend: InotifyBackend) -> None:
    backend._take(event(77, Mask.IGNORED))
    assert backend.read(0) == ({}, False)


# What is lost is said.


def test_the_kernels_overflow_is_reported_once(scene: Scene) -> None:
    scene.backend._take(event(-1, Mask.Q_OVERFLOW))
    assert scene.backend.read(0) == ({}, True)
    assert scene.backend.read(0) == ({}, False)


def test_events_after_the_overflow_are_hints_again(scene: Scene) -> None:
    before, after = event(1, Mask.CREATE, b"before"), event(1, Mask.CREATE, b"after")
    scene.backend._take(before + event(-1, Mask.Q_OVERFLOW) + after)
    assert scene.backend.read(0) == ({Place(1, b"after"): Sign.CREATED}, True)


@pytest.mark.slow
def test_more_than_the_queue_holds_while_the_reader_is_held_is_an_overflow(scene: Scene) -> None:
    with scene.backend._noticed:
        for i in range(30_000):
            os.mknod(scene.one / f"{i}")
    _, overflow = scene.until_now()
    assert overflow
    # The next hints are good again.
    (scene.one / "later").mkdir()
    seen: set[Place] = set()
    wait_for(lambda: Place(1, b"later") in (seen | set(scene.backend.read(0.5).signs)))


def test_more_places_than_the_limit_are_an_overflow(tmp_path: Path) -> None:
    backend = InotifyBackend(limit=100)
    scene = Scene(tmp_path, backend)
    try:
        with backend._noticed:
            for i in range(500):
                os.mknod(scene.one / f"{i}")
        wait_for(lambda: backend._overflow)
        hints = backend.read(0)
        assert hints.overflow
        assert len(hints.signs) <= 100
    finally:
        backend.close()


def test_one_name_changed_often_is_no_overflow(tmp_path: Path) -> None:
    backend = InotifyBackend(limit=20)
    scene = Scene(tmp_path, backend)
    try:
        for _ in range(200):
            (scene.one / "file").write_bytes(b"x")
        assert scene.until_now()[1] is False
    finally:
        backend.close()


def test_a_mask_of_the_future_is_a_reason_to_look(scene: Scene) -> None:
    scene.backend._take(event(1, 0x0080_0000, b"file"))
    assert scene.backend.read(0) == ({Place(1, b"file"): Sign.ATTRIBUTES}, False)


def test_a_failed_read_is_an_overflow_and_reading_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.readv
    errors = [OSError(errno.EIO, "broken")]

    def failing_once(fd: int, buffers: list[bytearray]) -> int:
        if errors:
            raise errors.pop()
        return real(fd, buffers)

    monkeypatch.setattr(os, "readv", failing_once)
    _, overflow = scene.until_now()
    assert overflow
    assert scene.until_now()[1] is False


def test_a_failed_reader_is_not_silent(tmp_path: Path) -> None:
    def broken(number: int, name: bytes) -> bool:
        raise ZeroDivisionError(number, name)

    backend = InotifyBackend(ignore=broken)
    scene = Scene(tmp_path, backend)
    try:
        with pytest.raises(RuntimeError, match="reader has failed: ZeroDivisionError"):
            scene.until_now()
    finally:
        backend.close()


def test_ignored_names_are_dropped(tmp_path: Path) -> None:
    backend = InotifyBackend(ignore=lambda number, name: (number, name) == (1, b"our.db"))
    scene = Scene(tmp_path, backend)
    try:
        (scene.one / "our.db").mkdir()
        (scene.one / "other").mkdir()
        (scene.two / "our.db").mkdir()
        signs, _ = scene.until_now()
        assert set(signs) == {Place(1, b"other"), Place(2, b"our.db")}
        scene.watch(5, scene.one)
        (scene.one / "our.db").rmdir()
        assert set(scene.until_now()[0]) == {Place(5, b"our.db")}
    finally:
        backend.close()


# Errors and limits.


def test_a_file_cannot_be_watched(tmp_path: Path, backend: InotifyBackend) -> None:
    (tmp_path / "file").touch()
    fd = os.open(tmp_path / "file", os.O_PATH)
    with pytest.raises(NotADirectoryError, match="cannot watch"):
        backend.watch(1, fd)
    os.close(fd)
    assert backend.watches() == 0


def test_a_link_to_a_directory_is_not_followed(tmp_path: Path, backend: InotifyBackend) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    fd = os.open(tmp_path / "link", os.O_PATH | os.O_NOFOLLOW)
    with pytest.raises(NotADirectoryError):
        backend.watch(1, fd)
    os.close(fd)


def test_a_closed_backend_watches_nothing(tmp_path: Path, backend: InotifyBackend) -> None:
    backend.close()
    fd = os.open(tmp_path, os.O_PATH)
    with pytest.raises(OSError, match="closed"):
        backend.watch(1, fd)
    backend.unwatch(1)
    os.close(fd)


def test_closing_leaves_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before, threads = descriptors(), threading.active_count()
    for i in range(5):
        (tmp_path / f"{i}").mkdir()
        backend = InotifyBackend()
        Scene(tmp_path / f"{i}", backend)
        backend.close()
        assert not backend._reader.is_alive()
    assert (descriptors(), threading.active_count()) == (before, threads)


WATCH_UNTIL_THE_LIMIT = """
import os, sys, tempfile
from watcher.backend import WatchLimitError
from watcher.inotify import InotifyBackend
from watcher.sysctl import watch_limit
backend = InotifyBackend()
with tempfile.TemporaryDirectory() as top:
    for number in range(1, 9):
        os.mkdir(f"{top}/{number}")
        fd = os.open(f"{top}/{number}", os.O_PATH)
        try:
            backend.watch(number, fd)
        except WatchLimitError as error:
            print(backend.watches(), watch_limit(), error)
            break
    backend.unwatch(1)
    assert backend.watch(number, fd)
    print("again", backend.watches())
backend.close()
"""


def test_the_limit_of_watches_is_named_with_its_remedy() -> None:
    lines = in_user_namespace({"max_inotify_watches": 5}, WATCH_UNTIL_THE_LIMIT).splitlines()
    assert lines[0].startswith("5 5 inotify: no more watches: user.max_inotify_watches is 5 ")
    assert "sysctl -w user.max_inotify_watches=10 " in lines[0]
    assert lines[1] == "again 5"


OPEN_UNTIL_THE_LIMIT = """
from watcher.backend import WatchLimitError
from watcher.inotify import InotifyBackend
backends = []
try:
    for _ in range(9):
        backends.append(InotifyBackend())
except WatchLimitError as error:
    print(len(backends), error)
for backend in backends:
    backend.close()
"""


def test_the_limit_of_instances_is_named_with_its_remedy() -> None:
    line = in_user_namespace({"max_inotify_instances": 3}, OPEN_UNTIL_THE_LIMIT)
    assert line.startswith("3 inotify: no more instances: user.max_inotify_instances is 3 ")
    assert "sysctl -w user.max_inotify_instances=6 " in line


NO_DESCRIPTORS = """
import os, resource
from watcher.inotify import InotifyBackend
InotifyBackend().close()
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1,) * 2)
try:
    InotifyBackend()
except OSError as error:
    print(error.strerror)
"""


def test_having_no_file_descriptors_is_not_taken_for_the_limit_of_instances() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTORS],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout == "Too many open files\n"


def test_the_machines_limit_is_the_one_in_force() -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_user_watches").read_text())
    assert 0 < watch_limit() <= limit


def test_a_hundred_thousand_watches_take_less_than_25_megabytes(backend: InotifyBackend) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        with backend._noticed:
            for i in range(100_000):
                backend._attach(1_000_000 + i, 2_000_000 + i)
        assert tracemalloc.get_traced_memory()[0] - before < 25_000_000
    finally:
        tracemalloc.stop()
