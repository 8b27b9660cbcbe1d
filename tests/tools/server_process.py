"""A real server in a process of its own, as an operator starts it."""

import contextlib
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eventlog.clock import SystemClock

PROJECT = Path(__file__).parents[2]

DEADLINE_SECONDS = 120.0
"""Far more than anything needs, so that a slow machine fails no test."""

_LISTENING = re.compile(r"listening on (http://\S+)")


class Server:
    """A started server.

    Args:
        words: what follows `nasfeed serve`.
    """

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools", "serve", *words],
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
        )
        self.lines: list[str] = []
        self.url = ""
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait(self) -> None:
        """Wait until it has said where it listens, or has ended."""
        assert self._listening.wait(DEADLINE_SECONDS)

    def get(self, path: str) -> tuple[int, Any]:
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def names(self) -> set[str]:
        """Return the names of all live nodes but the roots."""
        status, page = self.get("/api/v1/changes?cursor=0&max_size=10000")
        return {c["node"]["name"] for c in page["changes"]} if status == 200 else set()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit status when the process has ended."""
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE_SECONDS)
        self._reader.join()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                if found := _LISTENING.search(line):
                    self.url = found[1]
                    self._listening.set()
        self._listening.set()


@contextlib.contextmanager
def running(*words: str) -> Iterator[Server]:
    """Start a server and wait until it listens or ends; it is killed in the end."""
    server = Server(*words)
    try:
        if "--config" not in words:  # then it may say so elsewhere
            server.wait()
        yield server
    finally:
        server.close()


def eventually(true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    clock, pause = SystemClock(), threading.Event()
    deadline = clock.monotonic() + DEADLINE_SECONDS
    while not true():
        assert clock.monotonic() < deadline
        pause.wait(0.02)
