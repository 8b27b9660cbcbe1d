"""A real server, mounted through the real kernel, both in processes of their own."""

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.serving import Server, running, wait_until
from tools.mounting.control import find

DEADLINE_SECONDS = 30

_TOLD = re.compile(
    r"fuse: writing device: Not a directory\n"
    r"Failed to submit invalidate_entry request[^\n]*\n"
    r"Traceback [^\n]*\n(?:  [^\n]*\n)+"
    r"NotADirectoryError: [^\n]*\n"
)
"""What libfuse and pyfuse3 write when the kernel is to forget a name in what was a directory."""


class Mounted(NamedTuple):
    """A mount.

    Attributes:
        path: where it is.
        disk: the directory that the server serves.
        server: that serves it.
        port: of its filesystem.
    """

    path: Path
    disk: Path
    server: Server
    port: int

    @property
    def url(self) -> str:
        """Where the server's filesystem is."""
        return f"http://127.0.0.1:{self.port}"


_OVERTAKEN = re.compile(
    r"/[^\n]* could not be (?:written|removed): \[Errno (?:2|20|40|116)\] [^\n]*\n"
    r"|nasfeed: [0-9]+ files could not be written; they are named above\n"
)
"""What a mount says of new files whose directory others removed before they were on the server."""


@contextlib.contextmanager
def mounted(base: Path, *words: str, contested: bool = False) -> Iterator[Mounted]:
    """Mount a new directory.

    Args:
        base: where everything is.
        words: options of `nasfeed mount`.
        contested: whether others remove directories in which files are being made.
    """
    with unmounted(base) as mount:
        with _client(mount.url, mount.path, *words, contested=contested):
            yield mount
        mount.server.stop()


@contextlib.contextmanager
def unmounted(base: Path) -> Iterator[Mounted]:
    """Serve a new directory that can be mounted."""
    disk, path = base / "disk", base / "mount"
    disk.mkdir()
    path.mkdir()
    serve = (str(disk), "--port", "0", "--db", str(base / "state/log.db"))
    port = _free_port()  # the same one when it is started again
    with running(*serve, "--spockfs", "--spockfs-port", str(port)) as server:
        assert spock_port(server) == port
        wait_until(lambda: "disk" in server.names())
        yield Mounted(path, disk, server, port)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def _client(url: str, path: Path, *words: str, contested: bool) -> Iterator[None]:
    with client(url, path, *words) as process:
        yield
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_SECONDS)
        left = _TOLD.sub("", said)
        if contested:
            left = _OVERTAKEN.sub("", left)
        assert left == "", said
        assert process.returncode == 0 or contested, said


@contextlib.contextmanager
def client(url: str, path: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Mount what a server has; whatever becomes of the mount, nothing is left of it."""
    command = [sys.executable, "-m", "tools", "mount", url, str(path), *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: os.path.ismount(path) or process.poll() is not None, "it is mounted")
        assert process.poll() is None, process.communicate()[1]
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        if find(os.fsencode(path)) is not None:  # a mount without its process cannot be looked at
            subprocess.run(["umount", "-l", str(path)], check=True)


def spock_port(server: Server) -> int:
    """Return the port that a server says its filesystem has."""
    found: list[str] = []

    def told() -> bool:
        found[:] = re.findall(r"SpockFS at http://127\.0\.0\.1:(\d+)", server.said)
        return bool(found) or not server.running

    wait_until(told, "the filesystem listens")
    assert found, server.said
    return int(found[0])


def settle(directory: Path) -> None:
    """Have what was made in a directory of a mount on the server.

    Raises:
        OSError: not all could be.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
