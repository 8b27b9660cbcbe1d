"""nginx with one process: what reading files over HTTP costs at least."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.bench.bench import Bench
from tools.bench.process import Child
from tools.bench.wire import free_port


class Nginx(NamedTuple):
    """A running one.

    Attributes:
        child: its processes.
        port: that it listens on.
    """

    child: Child
    port: int


@contextlib.contextmanager
def serving(bench: Bench, root: Path, state: Path) -> Iterator[Nginx | None]:
    """Serve a directory.

    Args:
        bench: the run.
        root: the directory.
        state: where nginx may write; it makes `nginx` there.

    Yields:
        The server, or None when nginx is missing.
    """
    executable = shutil.which("nginx")
    if executable is None:
        bench.say("nginx is missing: reading has no peer")
        yield None
        return
    port, base = free_port(), state / "nginx"
    base.mkdir()
    user = "user root; " if os.geteuid() == 0 else ""
    (base / "nginx.conf").write_text(
        f"{user}worker_processes 1; daemon off; pid {base}/pid; error_log {base}/error;\n"
        "events {}\nhttp { access_log off; keepalive_requests 100000000; sendfile on;\n"
        f"server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    words = [executable, "-p", str(base), "-c", str(base / "nginx.conf")]
    child = Child(words, state / "nginx-output")
    try:
        child.wait_until(lambda: _listens(port))
        yield Nginx(child, port)
        child.stop()
    finally:
        child.kill()


def _listens(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=5),
    ):
        return True
    return False
