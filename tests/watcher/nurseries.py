"""Nurseries for tests, whose process may have threads and must not be forked."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from watcher.nursery import Nursery

_PROGRAM = "import socket; from watcher import nursery; nursery.serve(socket.socket(fileno={}))"


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Lend one that was started afresh."""
    made = start()
    with contextlib.closing(made):
        yield made


def start() -> Nursery:
    """Start one, to be closed by the caller."""
    ours, its = socket.socketpair()
    with its:
        child = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(its.fileno())],
            pass_fds=(its.fileno(),),
            cwd=Path(__file__).parents[2],
        )
    return Nursery(ours, child.pid, child.wait)
