import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.serving import wait_until
from watcher.metadata.arguments import Arguments
from watcher.metadata.blackbox import BlackBox
from watcher.metadata.process import WorkerProcess
from watcher.metadata.task import Limits, Status, Task, without_result
from watcher.metadata.wire import Work, encode_outcomes, frame

_PROJECT = Path(__file__).parents[3]


def _run(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=False,
        input="",
    )


def test_a_worker_without_work_ends() -> None:
    worker = WorkerProcess(Limits(), idle_seconds=0.01)
    worker._process.wait(60)
    assert worker.receive() == ([], False)
    death = worker.bury()
    assert (death.ready, death.cause, death.culprit) == (True, "exit status 0", None)


def test_a_worker_ends_with_its_input() -> None:
    box = BlackBox.create()
    words = Arguments(box.fd, os.getpid(), 20.0, 1 << 28, 0.0, 0.0).words()
    run = subprocess.run(
        [sys.executable, "-m", "watcher.metadata.worker", *words],
        cwd=_PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        pass_fds=(box.fd,),
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"\1\0\0\0\x90", b"")
    box.close()


def test_a_worker_that_writes_nonsense_is_killed_and_what_it_wrote_before_counts() -> None:
    worker = WorkerProcess(Limits())
    task = Task(3, b"/x", 1, 2, 3, 4, want_hash=True)
    worker.works += [Work(task), Work(msgspec.structs.replace(task, number=4))]
    outcome = without_result(task, Status.DONE)
    worker._received += frame(encode_outcomes([outcome])) + b"\xff" * 100
    assert worker.receive() == ([outcome], False)
    death = worker.bury()
    assert death.cause == "it wrote nonsense: frame of 4294967295 bytes"
    assert [work.task.number for work in death.others] == [4]


def test_a_worker_that_answers_what_was_not_asked_is_killed() -> None:
    worker = WorkerProcess(Limits())
    outcome = without_result(Task(3, b"/x", 1, 2, 3, 4, want_hash=True), Status.DONE)
    worker._received += frame(encode_outcomes([outcome]))
    assert worker.receive() == ([], False)
    assert worker.bury().cause == "it wrote nonsense: an outcome for 3, which was not asked"


def test_a_worker_that_dies_too_slowly_is_left_behind_and_reaped_all_the_same() -> None:
    worker = WorkerProcess(Limits())
    worker.kill()
    worker.free(0)
    wait_until(lambda: not Path(f"/proc/{worker.pid}").exists(), "it is no zombie")


def test_what_libraries_print_reaches_nobody() -> None:
    run = _run(
        "import ctypes, os, sys\n"
        "from watcher.metadata.streams import take_standard_streams\n"
        "streams = take_standard_streams()\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.puts(b'noise'); libc.perror(b'noise'); libc.fflush(None)\n"
        "os.write(streams.results, b'frame')\n"
        "print('traceback', file=sys.stderr)\n"
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "frame", "traceback\n")


def test_a_confined_process_cannot_write_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"precious")
    run = _run(
        "import os, sys\n"
        "from watcher.metadata.confine import confine\n"
        "fd = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)\n"
        "confine(os.getppid(), 1 << 28)\n"
        "try:\n"
        "    os.write(fd, b'harm')\n"
        "except OSError as error:\n"
        "    print(error.strerror, os.nice(0))\n",
        os.fspath(path),
    )
    assert run.stdout == "File too large 10\n", run.stderr
    assert path.read_bytes() == b"precious"


_LANDLOCK = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1))"


def test_a_confined_process_cannot_change_a_directory(tmp_path: Path) -> None:
    version = int(_run(_LANDLOCK).stdout)
    if version < 3:
        pytest.skip(f"this kernel has Landlock version {version}, 3 is needed")
    (tmp_path / "a").write_bytes(b"precious")
    run = _run(
        "import os, sys\n"
        "from watcher.metadata.confine import confine\n"
        "confine(os.getppid(), 1 << 28)\n"
        "os.chdir(sys.argv[1])\n"
        "for attempt in (\n"
        "    lambda: os.unlink('a'), lambda: os.rename('a', 'b'), lambda: os.mkdir('d'),\n"
        "    lambda: os.truncate('a', 0), lambda: os.open('a', os.O_WRONLY),\n"
        "    lambda: os.link('a', 'b'), lambda: os.mkfifo('f'), lambda: os.symlink('a', 'l'),\n"
        "):\n"
        "    try:\n"
        "        attempt()\n"
        "    except PermissionError:\n"
        "        print(end='.')\n"
        "print(open('a').read())\n",
        os.fspath(tmp_path),
    )
    assert run.stdout == "........precious\n", run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_confined_process_takes_no_more_memory_than_it_may() -> None:
    run = _run(
        "import os\n"
        "from watcher.metadata.confine import confine\n"
        "confine(os.getppid(), 64 << 20)\n"
        "bytearray(32 << 20)\n"
        "try:\n"
        "    bytearray(128 << 20)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    assert run.stdout == "refused\n", run.stderr


def test_a_process_whose_parent_is_gone_does_not_begin() -> None:
    run = _run("from watcher.metadata.confine import confine\nconfine(1, 1 << 28)\n")
    assert "the server is gone" in run.stderr


def test_a_confined_process_is_deaf_to_ctrl_c() -> None:
    run = _run(
        "import os, signal\n"
        "from watcher.metadata.confine import confine\n"
        "confine(os.getppid(), 1 << 28)\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):\n"
        "    os.kill(os.getpid(), number)\n"
        "print('alive')\n"
    )
    assert run.stdout == "alive\n", run.stderr
