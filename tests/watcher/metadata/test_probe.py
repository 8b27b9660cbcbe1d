import errno
import hashlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from PIL import Image

from watcher.metadata.hashing import BLOCK_BYTES, LengthError, Reader
from watcher.metadata.task import Outcome, Status, Task

Probe = Callable[[Task], Outcome]
TaskOf = Callable[..., Task]


def test_a_text_file_gets_hash_and_type(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello\n")
    task = task_of(path, 7)
    assert probe(task) == Outcome(
        number=7,
        status=Status.DONE,
        ino=task.ino,
        size=6,
        mtime_ns=task.mtime_ns,
        ctime_ns=task.ctime_ns,
        hash=hashlib.md5(b"hello\n", usedforsecurity=False).digest(),
        mime="text/plain",
    )


def test_an_empty_file_has_the_type_that_file_says(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    path = tmp_path / "empty"
    path.touch()
    outcome = probe(task_of(path))
    said = subprocess.run(["file", "-b", "--mime-type", path], check=True, capture_output=True)
    assert outcome.mime == said.stdout.decode().strip() == "inode/x-empty"
    assert outcome.hash == hashlib.md5(b"", usedforsecurity=False).digest()
    assert outcome.status == Status.DONE


def test_a_hash_that_is_not_wanted_is_not_computed(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (31, 17)).save(path)
    outcome = probe(task_of(path, want_hash=False))
    assert (outcome.hash, outcome.mime, outcome.width, outcome.height) == (b"", "image/png", 31, 17)
    assert outcome.status == Status.DONE


def test_a_file_of_many_blocks_is_hashed_to_its_end(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    content = os.urandom(3_333_333)
    path = tmp_path / "blocks"
    path.write_bytes(content)
    assert probe(task_of(path)).hash == hashlib.md5(content, usedforsecurity=False).digest()


def test_a_large_sparse_file_is_hashed(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(40 << 20)
    digest = hashlib.md5(bytes(40 << 20), usedforsecurity=False).digest()
    assert probe(task_of(path)).hash == digest


@pytest.mark.parametrize("name", [b"\xff\xfe.png", b"two\nlines.png", b"-rf.png", b"img 0001.png"])
def test_names_are_bytes(probe: Probe, task_of: TaskOf, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    Image.new("L", (5, 6)).save(path, "PNG")
    outcome = probe(task_of(path))
    assert (outcome.status, outcome.mime, outcome.width) == (Status.DONE, "image/png", 5)


def test_a_path_longer_than_a_system_call_takes_is_described(probe: Probe, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path)
    directory = os.open(path, os.O_RDONLY)
    for _ in range(40):
        name = b"d" * 250
        os.mkdir(name, dir_fd=directory)
        deeper = os.open(name, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory, path = deeper, path + b"/" + name
    fd = os.open(b"leaf", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=directory)
    os.write(fd, b"text\n")
    found = os.fstat(fd)
    os.close(fd)
    os.close(directory)
    task = Task(
        number=1,
        path=path + b"/leaf",
        ino=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
        want_hash=True,
    )
    assert (probe(task).status, probe(task).mime) == (Status.DONE, "text/plain")
    other = msgspec.structs.replace(task, path=path + b"/other")
    assert probe(other).status == Status.CHANGED


@pytest.mark.parametrize("field", ["ino", "size", "mtime_ns", "ctime_ns"])
def test_another_version_than_the_one_meant_is_changed(
    probe: Probe, task_of: TaskOf, tmp_path: Path, field: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    task = task_of(path)
    other = msgspec.structs.replace(task, **{field: getattr(task, field) + 1})
    outcome = probe(other)
    assert (outcome.status, outcome.hash, outcome.mime) == (Status.CHANGED, b"", "")
    assert getattr(outcome, field) == getattr(other, field)


def test_a_vanished_file_is_changed(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    task = task_of(path)
    path.unlink()
    assert probe(task).status == Status.CHANGED


def test_a_file_whose_directory_became_a_file_is_changed(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    directory = tmp_path / "d"
    directory.mkdir()
    (directory / "a").write_bytes(b"x")
    task = task_of(directory / "a")
    (directory / "a").unlink()
    directory.rmdir()
    directory.touch()
    assert probe(task).status == Status.CHANGED


@pytest.mark.parametrize("kind", ["fifo", "socket", "link", "loop", "directory"])
def test_what_is_no_regular_file_is_never_opened(
    probe: Probe, task_of: TaskOf, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / kind
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(os.fspath(path))
        case "link":
            path.symlink_to("/etc/passwd")
        case "loop":
            path.symlink_to(path)
        case _:
            path.mkdir()
    assert probe(task_of(path)).status == Status.CHANGED


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_a_device_is_never_opened(probe: Probe, task_of: TaskOf, tmp_path: Path) -> None:
    path = tmp_path / "zero"
    os.mknod(path, 0o20600, os.makedev(1, 5))
    assert probe(task_of(path)).status == Status.CHANGED


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Have the rights of nobody, if they can be given up at all."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield
    os.seteuid(was)


def test_an_unreadable_file_fails_with_the_reason(
    probe: Probe, task_of: TaskOf, as_nobody: None
) -> None:
    assert as_nobody is None
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "secret"
        path.write_bytes(b"x")
        path.chmod(0)
        outcome = probe(task_of(path))
    assert outcome.status == Status.FAILED
    assert outcome.problem == "cannot be opened: Permission denied"


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="needs a file of somebody else")
def test_a_file_of_somebody_else_is_read_without_o_noatime(
    probe: Probe, task_of: TaskOf, as_nobody: None
) -> None:
    assert as_nobody is None
    outcome = probe(task_of(Path("/etc/passwd")))
    assert (outcome.status, outcome.mime) == (Status.DONE, "text/plain")


def test_reading_leaves_the_access_time_alone(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    assert probe(task_of(path)).status == Status.DONE
    assert path.stat().st_atime_ns == 1


def test_a_file_that_changes_between_the_looks_is_changed(
    probe: Probe, task_of: TaskOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    task = task_of(path)

    md5 = Reader.md5

    def change_and_hash(self: Reader, fd: int, size: int) -> bytes:
        os.utime(path)
        return md5(self, fd, size)

    monkeypatch.setattr(Reader, "md5", change_and_hash)
    outcome = probe(task)
    assert (outcome.status, outcome.hash, outcome.mime) == (Status.CHANGED, b"", "")


def _md5(path: Path, size: int) -> bytes:
    reader = Reader()
    fd = os.open(path, os.O_RDONLY)
    try:
        reader.begin(fd)
        return reader.md5(fd, size)
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES])
def test_files_around_the_size_of_a_block_are_hashed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a"
    content = os.urandom(size)
    path.write_bytes(content)
    assert _md5(path, size) == hashlib.md5(content, usedforsecurity=False).digest()


def test_a_file_that_grows_without_end_is_left_soon() -> None:
    with pytest.raises(LengthError, match="of a file of 5"):
        _md5(Path("/dev/zero"), 5)


@pytest.mark.parametrize("said", [3, 5, BLOCK_BYTES, 3 * BLOCK_BYTES])
def test_a_file_of_another_length_than_it_says_is_not_hashed(tmp_path: Path, said: int) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"1234")
    with pytest.raises(LengthError, match=f"read 4 bytes of a file of {said}"):
        _md5(path, said)


def test_a_read_error_at_the_start_is_told(
    probe: Probe, task_of: TaskOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"text\n")
    monkeypatch.setattr(Reader, "begin", _broken)
    outcome = probe(task_of(path))
    assert (outcome.status, outcome.problem) == (
        Status.UNREADABLE,
        "cannot be read: Input/output error",
    )


def test_a_read_error_further_on_keeps_the_type(
    probe: Probe, task_of: TaskOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"text\n")
    monkeypatch.setattr(Reader, "md5", _broken)
    outcome = probe(task_of(path))
    assert (outcome.status, outcome.mime, outcome.hash) == (Status.UNREADABLE, "text/plain", b"")
    assert outcome.problem == "not hashed: Input/output error"


def _broken(*_: object) -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_another_program_s_lease_is_waited_for(
    probe: Probe, task_of: TaskOf, tmp_path: Path
) -> None:
    path = tmp_path / "leased"
    path.write_bytes(b"x")
    task = task_of(path)
    holder = subprocess.Popen(
        ["python3", "-c", _HOLD_LEASE, path], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert probe(task).status == Status.DONE
    finally:
        holder.kill()
        holder.communicate()


_HOLD_LEASE = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, lambda *_: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK))
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
while True:
    signal.pause()
"""
