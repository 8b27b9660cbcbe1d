"""`nasfeed unmount`: it ends when everything is on the server, and names what is not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import DEADLINE_SECONDS, wait_until
from tests.tools.mounted import Mounted, client, settle, unmounted
from tools import unmount
from tools.errors import OperatorError
from tools.mounting.control import Mountpoint, find

TABLE = rb"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
60 22 0:50 / /mnt/a\040b rw,nosuid - fuse.spockfs nasfeed rw,user_id=7,group_id=0
61 22 0:51 / /mnt/x rw,nosuid master:3 - fuse.spockfs nasfeed rw,user_id=0,group_id=0
62 61 0:52 / /mnt/x rw - tmpfs tmpfs rw
"""


def test_the_kernels_table_is_read() -> None:
    assert find(b"/mnt/a b", TABLE) == Mountpoint("0:50", "fuse.spockfs", 7)
    assert find(b"/mnt/x", TABLE) == Mountpoint("0:52", "tmpfs", None)  # the other is hidden
    assert find(b"/mnt", TABLE) is None


def arguments(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "tools", "unmount", str(directory), *words]


def ask(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Unmount a directory, and wait for the end."""
    return subprocess.run(
        arguments(directory, *words),
        check=False,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )


def make(directory: Path) -> None:
    """Make a directory in a mount, and have the kernel know all about it."""
    directory.mkdir()
    (directory / "first").write_text("x")
    settle(directory)


def status(process: subprocess.Popen[str]) -> int:
    """Return how a mount ended."""
    process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode


def test_what_is_no_mount_is_said(tmp_path: Path) -> None:
    done = ask(tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f"nasfeed: {tmp_path}: nothing is mounted there by `nasfeed mount`\n",
    )


def test_who_listens_in_the_place_of_a_mount_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot be asked"):
        unmount._Teller(str(tmp_path), Mountpoint("none", "fuse.spockfs", os.geteuid()))


needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
    reason="needs root and /dev/fuse",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Mounted]:
    pytest.importorskip("pyfuse3", reason="the optional part for mounts is not installed")
    with unmounted(tmp_path) as mount:
        yield mount


@pytest.mark.privileged
@needs_fuse
def test_when_it_ends_everything_is_there(served: Mounted) -> None:
    made = {f"{number}": b"%d" % number for number in range(300)}
    with client(served.url, served.path) as process:
        (served.path / "d").mkdir()
        for name, data in made.items():
            (served.path / "d" / name).write_bytes(data)
        done = ask(served.path)
        assert (done.returncode, done.stderr) == (0, "")
        there = {path.name: path.read_bytes() for path in (served.disk / "d").iterdir()}
        assert there == made
        assert not os.path.ismount(served.path)
        assert status(process) == 0


@pytest.mark.privileged
@needs_fuse
def test_what_is_in_use_stays_mounted(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        with (served.path / "open").open("w") as file:
            done = ask(served.path)
            assert done.returncode == 1
            assert "busy" in done.stderr
            assert "fuser -vm" in done.stderr
            file.write("x")
        assert ask(served.path).returncode == 0
        assert (served.disk / "open").read_text() == "x"
        assert status(process) == 0


@pytest.mark.privileged
@needs_fuse
def test_what_cannot_be_sent_is_named_and_stays_mounted(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        make(served.path / "d")
        served.server.pause()
        (served.path / "d/f\x1b").write_text("x")
        done = ask(served.path, "--timeout", "0.5")
        assert done.returncode == 1
        assert "still mounted: not on the server yet: d/f\\x1b;" in done.stderr
        assert os.path.ismount(served.path)
        served.server.resume()
        assert ask(served.path).returncode == 0
        assert (served.disk / "d/f\x1b").read_text() == "x"
        assert status(process) == 0


@pytest.mark.privileged
@needs_fuse
def test_what_was_lost_is_named(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        make(served.path / "d")
        served.server.pause()
        (served.disk / "d/lock").write_text("theirs")
        with (served.path / "d/lock").open("x") as file:
            file.write("mine")
        served.server.resume()
        done = ask(served.path)
        assert (done.returncode, done.stderr) == (
            1,
            f"nasfeed: {served.path}: could not be written: d/lock\n",
        )
        assert status(process) == 1


@pytest.mark.privileged
@needs_fuse
def test_a_terminal_is_shown_how_far_it_is(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        make(served.path / "d")
        served.server.pause()
        for number in range(3):
            (served.path / f"d/{number}").write_text("x")
        ours, theirs = os.openpty()
        try:
            asked = subprocess.Popen(arguments(served.path), stderr=theirs)
            os.close(theirs)
            said: list[bytes] = []

            def told() -> bool:
                said.append(os.read(ours, 1_000))
                return b"sending: 0 of 3 files (0 %)" in b"".join(said)

            wait_until(told, "it is shown")
            served.server.resume()
            assert asked.wait(DEADLINE_SECONDS) == 0
        finally:
            os.close(ours)
        assert status(process) == 0
