"""Unmount what `nasfeed mount` has mounted, when everything that was written is on the server.

It shows how many files are still to be sent, and ends with status 1 when some could not be: then it
names them. A directory that is in use stays mounted, and so does one whose server is gone.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes

from eventlog.clock import Clock, SystemClock
from tools.errors import OperatorError
from tools.mount import seconds
from tools.mounting import control
from tools.mounting.control import Mountpoint
from tools.progress import Progress, Step

TIMEOUT_SECONDS: Final = 60.0

NAMED_MAX: Final = 10
"""Files that an error names."""

ANSWER_SECONDS: Final = 60.0
"""For one line of an answer; a mount that is asked says one more often than each second."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("directory", metavar="DIR", help="where it is mounted")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="leave it mounted when so long no file could be sent (default: 60)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Have everything on the server, and unmount.

    Raises:
        OperatorError: nothing is mounted there, it is in use, or files could not be sent.
    """
    directory = control.place(arguments.directory)
    mount = control.find(os.fsencode(directory))
    if mount is None or mount.kind != control.KIND:
        raise OperatorError(f"{directory}: nothing is mounted there by `nasfeed mount`")
    with contextlib.closing(_Teller(directory, mount)) as teller:
        _wait(teller, arguments.timeout, SystemClock())
        _unmount(directory)
        lost, count = teller.lost()
    if count:
        raise OperatorError(f"{directory}: could not be written: {_listed(lost, count)}")
    return 0


class _Teller:
    """What a mount tells.

    Args:
        directory: where it is mounted.
        mount: what the kernel says of it.

    Raises:
        OperatorError: it does not answer.
    """

    def __init__(self, directory: str, mount: Mountpoint) -> None:
        self._directory = directory
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            self._socket.connect(mount.address)
        except OSError as error:
            self._socket.close()
            self._complain(str(error.strerror), error)
        self._file = self._socket.makefile("rb")
        if mount.uid is not None and control.peer_uid(self._socket) != mount.uid:
            self.close()
            self._complain("somebody else answers for it", None)

    def close(self) -> None:
        """Ask no more."""
        self._file.close()
        self._socket.close()

    def states(self) -> Iterator[tuple[int, list[bytes]]]:
        """Yield how many files are still to be sent, and the names of some, again and again."""
        names: list[bytes] = []
        for word, value in self._lines():
            if word == control.WAITING:
                names.append(unquote_to_bytes(value))
            elif word == control.UNSENT:
                yield int(value), names
                names = []
            else:
                self._complain("it has ended meanwhile", None)

    def lost(self) -> tuple[list[bytes], int]:
        """Return, when the mount has ended, files that could not be sent: names, and how many."""
        names: list[bytes] = []
        for word, value in self._lines():
            if word == control.LOST:
                names.append(unquote_to_bytes(value))
            elif word == control.END:
                return names, int(value)
        raise AssertionError("the lines end with an error")

    def _lines(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            try:
                line = self._file.readline()
            except OSError as error:
                self._complain(str(error), error)
            if not line.endswith(b"\n"):
                self._complain("it has ended without a word", None)
            word, _, value = line.strip().partition(b" ")
            yield word, value

    def _complain(self, why: str, error: OSError | None) -> NoReturn:
        text = f"{self._directory}: its `nasfeed mount` cannot be asked what is not sent: {why}"
        raise OperatorError(text) from error


def _wait(teller: _Teller, timeout_seconds: float, clock: Clock) -> None:
    """Wait until nothing is on its way."""
    progress = Progress(sys.stderr, clock)
    best, since, first = -1, clock.monotonic(), 0
    try:
        for left, names in teller.states():
            if not left:
                return
            first = max(first, left)
            if best < 0 or left < best:
                best, since = left, clock.monotonic()
            elif clock.monotonic() - since > timeout_seconds:
                raise OperatorError(
                    f"still mounted: not on the server yet: {_listed(names, left)}; "
                    "is it there? `umount` would lose them"
                )
            progress.show(Step("sending", "files", first - left, first))
    finally:
        progress.clear()


def _unmount(directory: str) -> None:
    program = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
    try:
        subprocess.run([*program, "--", directory], check=True, capture_output=True, text=True)  # noqa: S603 - no shell
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip()
        raise OperatorError(f"{said} (`fuser -vm {directory}` says who uses it)") from error
    except FileNotFoundError as error:
        raise OperatorError(f"{program[0]} is needed to unmount {directory}") from error


def _listed(paths: list[bytes], count: int) -> str:
    """Return the names of some files, and how many there are more."""
    named = [ascii(os.fsdecode(path.lstrip(b"/")))[1:-1] for path in paths[:NAMED_MAX]]
    more = count - len(named)
    return ", ".join(named) + (f" and {more} more" if more > 0 and named else "")
