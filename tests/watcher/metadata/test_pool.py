import hashlib
import os
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest
from PIL import Image

from watcher.metadata.pool import ProbePool
from watcher.metadata.task import Limits, Outcome, Status, Task
from watcher.metadata.wire import Stage

MakePool = Callable[..., ProbePool]
RunAll = Callable[[ProbePool, Sequence[Task]], dict[int, Outcome]]
TaskOf = Callable[..., Task]

_PROJECT = Path(__file__).parents[3]


def _digest(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _matroska_of_voids(path: Path, count: int) -> None:
    """Write a film of nothing but empty elements: MediaInfo looks at each."""
    head = bytes.fromhex("1A45DFA38B428288") + b"matroska"
    path.write_bytes(head + bytes.fromhex("1853806701FFFFFFFFFFFFFF") + b"\xec\x80" * count)


def _film_of_samples(path: Path, size: int) -> None:
    """Write a film whose table of samples is said, and is, to be of `size` bytes: a sparse file."""
    names = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"]
    content = struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom")
    for depth, name in enumerate(names):
        content += struct.pack(">I4s", size + 8 * (len(names) - depth), name)
    path.write_bytes(content + struct.pack(">III", 0, 0, (size - 12) // 4))
    os.truncate(path, 20 + size + 8 * len(names))


def test_all_files_are_described_however_many(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    for number in range(300):
        (tmp_path / str(number)).write_bytes(b"%d\n" % number)
    tasks = [task_of(tmp_path / str(number), number) for number in range(300)]
    outcomes = run_all(make_pool(2), tasks)
    assert {outcome.status for outcome in outcomes.values()} == {Status.DONE}
    assert all(outcomes[n].hash == _digest(b"%d\n" % n) for n in range(300))


def test_room_is_taken_until_the_outcome_is_collected(
    make_pool: MakePool,
    task_of: TaskOf,
    collect_all: Callable[[ProbePool, int], dict[int, Outcome]],
    tmp_path: Path,
) -> None:
    (tmp_path / "a").touch()
    pool = make_pool(1, capacity=3)
    assert pool.room == 3
    pool.submit([task_of(tmp_path / "a", number) for number in range(2)])
    assert pool.room == 1
    with pytest.raises(ValueError, match="2 tasks where there is room for 1"):
        pool.submit([task_of(tmp_path / "a", 7)] * 2)
    collect_all(pool, 2)
    assert pool.room == 3


def test_a_pool_needs_a_worker() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ProbePool(0)


def test_without_work_no_process_runs(make_pool: MakePool) -> None:
    pool = make_pool(2)
    assert pool.collect(0) == []
    assert pool.worker_pids == []


def test_wake_after_close_does_nothing(make_pool: MakePool) -> None:
    pool = make_pool(1)
    pool.close()
    pool.wake()


def test_idle_workers_end_but_for_one(
    make_pool: MakePool,
    task_of: TaskOf,
    run_all: RunAll,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("watcher.metadata.pool._IDLE_SECONDS", 0.01)
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"x")
    tasks = [task_of(tmp_path / str(number), number) for number in range(100)]
    pool = make_pool(3)
    run_all(pool, tasks)
    assert len(pool.worker_pids) == 3
    while len(pool.worker_pids) > 1:
        assert pool.collect(0.1) == []
    assert run_all(pool, tasks)[99].status == Status.DONE


def test_collect_returns_after_its_timeout(make_pool: MakePool) -> None:
    assert make_pool(1).collect(0.01) == []


def test_wake_from_another_thread_ends_a_wait(make_pool: MakePool) -> None:
    pool = make_pool(1)
    waker = threading.Thread(target=pool.wake)
    waker.start()
    assert pool.collect(3600) == []
    waker.join()
    assert pool.collect(0) == []


def test_a_worker_killed_in_mid_batch_loses_nothing(
    make_pool: MakePool,
    task_of: TaskOf,
    collect_all: Callable[[ProbePool, int], dict[int, Outcome]],
    tmp_path: Path,
) -> None:
    for number in range(200):
        (tmp_path / str(number)).write_bytes(b"%d " % number * 20_000)
    pool = make_pool(2)
    pool.submit([task_of(tmp_path / str(number), number) for number in range(200)])
    first = pool.collect(60)
    for pid in pool.worker_pids:
        os.kill(pid, signal.SIGKILL)
    outcomes = collect_all(pool, 200 - len(first)) | {o.number: o for o in first}
    assert len(outcomes) == 200
    assert {(o.status, o.problem) for o in outcomes.values()} == {(Status.DONE, "")}
    assert all(outcomes[n].hash == _digest(b"%d " % n * 20_000) for n in range(200))


def test_a_film_that_hangs_mediainfo_costs_only_its_dimensions(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    _matroska_of_voids(tmp_path / "hang.mkv", 20_000_000)
    for number in range(1, 20):
        (tmp_path / str(number)).write_bytes(b"text\n")
    tasks = [task_of(tmp_path / str(number), number) for number in range(1, 20)]
    tasks.insert(5, task_of(tmp_path / "hang.mkv", 0))
    outcomes = run_all(make_pool(1, limits=Limits(parse_seconds=0.7)), tasks)
    hung = outcomes.pop(0)
    assert hung.problem == "dimensions unknown: the library took more than 0.7 s"
    assert (hung.status, hung.mime) == (Status.FAILED, "video/x-matroska")
    assert hung.hash == _digest((tmp_path / "hang.mkv").read_bytes())
    assert {(o.status, o.mime) for o in outcomes.values()} == {(Status.DONE, "text/plain")}


def test_a_file_that_hangs_libmagic_costs_only_its_type(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    content = b"\n" * (1 << 20)  # takes libmagic a quarter of a second
    (tmp_path / "hang").write_bytes(content)
    pool = make_pool(1, limits=Limits(parse_seconds=0.005))
    outcome = run_all(pool, [task_of(tmp_path / "hang", 3)])[3]
    assert outcome.problem == "type unknown: the library took more than 0.005 s"
    assert (outcome.status, outcome.mime) == (Status.FAILED, "")
    assert outcome.hash == _digest(content)


def test_a_film_cannot_make_a_worker_take_more_memory_than_it_may(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    _film_of_samples(tmp_path / "fat.mp4", 300_000_000)  # MediaInfo would take 280 MB
    (tmp_path / "a").write_bytes(b"text\n")
    pool = make_pool(1, limits=Limits(memory_bytes=64 << 20))
    tasks = [task_of(tmp_path / "fat.mp4", 0, want_hash=False), task_of(tmp_path / "a", 1)]
    outcomes = run_all(pool, tasks)
    assert (outcomes[0].mime, outcomes[0].width) == ("video/mp4", 0)
    assert outcomes[1].status == Status.DONE
    status = Path(f"/proc/{pool.worker_pids[0]}/status").read_text()
    peak_kib = int(status.partition("VmPeak:")[2].split()[0])
    assert peak_kib < 200 << 10


def test_a_library_without_memory_costs_only_the_dimensions(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    Image.new("L", (5, 6)).save(tmp_path / "a.tif")
    pool = make_pool(1, limits=Limits(memory_bytes=16 << 20))  # MediaInfo's code alone is 15
    outcome = run_all(pool, [task_of(tmp_path / "a.tif", 0)])[0]
    assert outcome.problem.startswith("dimensions unknown: Failed to load library")
    assert (outcome.status, outcome.mime) == (Status.FAILED, "image/tiff")
    assert outcome.hash == _digest((tmp_path / "a.tif").read_bytes())


def test_a_crash_of_mediainfo_costs_only_the_dimensions(
    make_pool: MakePool,
    task_of: TaskOf,
    collect_all: Callable[[ProbePool, int], dict[int, Outcome]],
    tmp_path: Path,
) -> None:
    _matroska_of_voids(tmp_path / "long.mkv", 10_000_000)
    (tmp_path / "a").write_bytes(b"text\n")
    pool = make_pool(1)
    pool.submit([task_of(tmp_path / "long.mkv", 0), task_of(tmp_path / "a", 1)])
    while pool._workers[0]._box.read()[1] != Stage.MEDIA:
        assert pool.collect(0.01) == []
    os.kill(pool.worker_pids[0], signal.SIGSEGV)
    outcomes = collect_all(pool, 2)
    assert outcomes[0].problem == "dimensions unknown: the worker process died of it (SIGSEGV)"
    assert (outcomes[0].status, outcomes[0].mime) == (Status.FAILED, "video/x-matroska")
    assert len(outcomes[0].hash) == 16
    assert outcomes[1].status == Status.DONE


def test_a_file_whose_reading_kills_twice_is_given_up(
    make_pool: MakePool, task_of: TaskOf, tmp_path: Path
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    pool = make_pool(1)
    pool.submit([task_of(tmp_path / "huge", 5)])
    killed: set[int] = set()
    outcomes: list[Outcome] = []
    while not outcomes:
        for worker in pool._workers:
            if worker.pid not in killed and worker._box.read() == (1, Stage.READING):
                killed.add(worker.pid)
                os.kill(worker.pid, signal.SIGBUS)
        outcomes = pool.collect(0.01)
    assert len(killed) == 2
    assert outcomes[0].status == Status.FAILED
    assert outcomes[0].problem == "not read: the worker process died of it (SIGBUS)"


def test_thousands_of_numbered_pictures_break_nothing(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    for number in range(1500):
        kind = "TIFF" if number % 5 == 0 else "PNG"
        Image.new("L", (1 + number % 7, 9)).save(tmp_path / f"img{number:05}", kind)
    tasks = [task_of(tmp_path / f"img{number:05}", number) for number in range(1500)]
    outcomes = run_all(make_pool(4), tasks)
    assert {(o.status, o.problem) for o in outcomes.values()} == {(Status.DONE, "")}
    assert all(o.width == 1 + number % 7 for number, o in outcomes.items())


def test_paths_longer_than_a_pipe_holds_arrive(
    make_pool: MakePool, task_of: TaskOf, run_all: RunAll, tmp_path: Path
) -> None:
    directory = tmp_path
    while len(os.fspath(directory)) < 3500:
        directory /= "d" * 250
    directory.mkdir(parents=True)
    for number in range(100):
        (directory / str(number)).write_bytes(b"x")
    tasks = [task_of(directory / str(number), number) for number in range(100)]
    outcomes = run_all(make_pool(1), tasks)
    assert {o.status for o in outcomes.values()} == {Status.DONE}


def test_close_kills_whatever_a_worker_does(
    make_pool: MakePool, task_of: TaskOf, tmp_path: Path
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    pool = make_pool(1)
    pool.submit([task_of(tmp_path / "huge")])
    (pid,) = pool.worker_pids
    pool.close()
    assert not Path(f"/proc/{pid}").exists()


def test_workers_die_with_the_server(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, os.fspath(tmp_path / "huge")],
        cwd=_PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    server.kill()
    with os.fdopen(os.pidfd_open(pid)) as worker:
        ended = select.select([worker], [], [], 60)[0]
    assert ended, "the worker outlived its server"
    server.communicate()


_SERVER = """
import os, sys, threading
from watcher.metadata.pool import ProbePool
from watcher.metadata.task import Task
path = os.fsencode(sys.argv[1])
s = os.stat(path)
pool = ProbePool(1)
pool.submit([Task(1, path, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns, True)])
print(pool.worker_pids[0], flush=True)
threading.Event().wait()
"""


def test_a_worker_that_cannot_start_is_tried_again_after_a_pause(
    make_pool: MakePool,
    task_of: TaskOf,
    collect_all: Callable[[ProbePool, int], dict[int, Outcome]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    pool = make_pool(1)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        pool.submit([task_of(tmp_path / "a", 1)])
        while not caplog.records:
            assert pool.collect(0.1) == []
    assert "no metadata worker can start (exit status 1)" in caplog.text
    assert collect_all(pool, 1)[1].status == Status.DONE


def test_workers_keep_to_a_rate(
    make_pool: MakePool, run_all: RunAll, task_of: TaskOf, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 << 20))
    pool = make_pool(1, limits=Limits(bytes_per_second=10 << 20))
    run_all(pool, [task_of(path)])  # its worker has started
    began = monotonic()
    outcome = run_all(pool, [task_of(path)])[1]
    assert outcome.status == Status.DONE
    assert monotonic() - began > 0.25
