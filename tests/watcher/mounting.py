"""Real mounts for tests that need them."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NOT_HERE = (
    "permission denied",
    "Operation not permitted",
    "unknown filesystem type",
    "cannot find an unused loop device",
)

_ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


def privileged(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that mounts."""
    marked: Callable[..., None] = pytest.mark.privileged(_ROOT_ONLY(test))
    return marked


def run(*command: str | Path) -> None:
    """Run a command; skip the test where this machine does not let even root do it."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and any(words in done.stderr for words in _NOT_HERE):
        pytest.skip(f"not to be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


@contextmanager
def mounted(*arguments: str | Path, point: Path) -> Iterator[Path]:
    """Mount as mount(8) with these arguments; unmount at the end unless the test did."""
    run("mount", *arguments, point)
    try:
        yield point
    finally:
        subprocess.run(["umount", "--lazy", point], capture_output=True, check=False)


@contextmanager
def attached(disk: Path) -> Iterator[str]:
    """Make a block device of a file; it may have several."""
    done = subprocess.run(
        ["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False
    )
    if done.returncode and any(words in done.stderr for words in _NOT_HERE):
        pytest.skip(f"not to be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)


def image(path: Path, maker: str, *options: str, megabytes: int = 16) -> Path:
    """Make a file that holds a new filesystem."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    run(f"mkfs.{maker}", *options, path)
    return path
