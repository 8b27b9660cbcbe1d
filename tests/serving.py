"""A real `nasfeed serve` in a process of its own, for tests that kill, stop and restart it."""

import contextlib
import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from eventlog.clock import SystemClock

PROJECT = Path(__file__).parents[1]

DEADLINE_SECONDS = 120.0
"""Far more than anything needs, so that a slow machine fails no test."""

LINES_MAX = 200
"""Of what the server said, so many last lines are kept for the message of a failure."""

_LISTENING = re.compile(r"listening on (http://\S+)")

OK = 200

CLOCK = SystemClock()


def wait_until(
    true: Callable[[], bool], what: str = "as it should be", seconds: float = DEADLINE_SECONDS
) -> None:
    """Wait until something is true.

    Args:
        true: asked again and again.
        what: said when it never comes true.
        seconds: the longest wait.
    """
    pause, began = threading.Event(), CLOCK.monotonic()
    asked = began
    while not true():
        now = CLOCK.monotonic()
        assert now - began < seconds, f"after {seconds} seconds still not: {what}"
        pause.wait(max(0.01, 2 * (now - asked)))  # so that asking leaves time for the answer
        asked = CLOCK.monotonic()


class Connection:
    """A client's connection, which may break at any time.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._http = http.client.HTTPConnection(
            parts.hostname or "", parts.port, timeout=DEADLINE_SECONDS
        )

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and decoded body, or raise OSError or HTTPException."""
        self._http.request("GET", path)
        response = self._http.getresponse()
        return response.status, msgspec.json.decode(response.read())

    def close(self) -> None:
        self._http.close()


class Server:
    """A server; it can be started, stopped and killed many times.

    Args:
        words: what follows `nasfeed serve`.

    Attributes:
        lines: the last that it said, of all its lives.
        url: where it listens, once it has said so; a server whose lines go elsewhere is told here.
    """

    def __init__(self, *words: str) -> None:
        self.lines: list[str] = []
        self.url = ""
        self._words = words
        self._process: subprocess.Popen[str] | None = None
        self._listening = threading.Event()
        self._reader = threading.Thread()

    @property
    def process(self) -> subprocess.Popen[str]:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it listens."""
        self.launch()
        self.wait()
        assert self.url, f"the server did not start: {self.said}"

    def launch(self) -> None:
        """Start it and wait for nothing."""
        assert not self.running
        self._listening.clear()
        self.url = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tools", "serve", *self._words],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=PROJECT,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def wait(self) -> None:
        """Wait until it has said where it listens, or has ended."""
        assert self._listening.wait(DEADLINE_SECONDS), "the server did not say where it listens"

    def wait_ready(self) -> None:
        """Wait until the feed answers: at a first start it does so only after the first scan."""
        with contextlib.closing(Connection(self.url)) as connection:
            wait_until(lambda: connection.get("/api/v1/cursor")[0] == OK, "the feed answers")

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and decoded body of one request."""
        with contextlib.closing(Connection(self.url)) as connection:
            return connection.get(path)

    def names(self) -> set[str]:
        """Return the names of all live nodes, roots included; none while the feed says nothing."""
        status, page = self.get("/api/v1/changes?cursor=0&max_size=10000")
        return {change["node"]["name"] for change in page["changes"]} if status == OK else set()

    def pause(self) -> None:
        """Stop its process where it is (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its process go on (SIGCONT)."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait for its end."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to stop (SIGTERM) and wait for its end, which must be a clean one."""
        status = self.end()
        assert status == 0, f"the server ended with {status}: {self.said}"

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; return the exit status when the process has ended."""
        self.process.send_signal(number)
        return self.wait_ended()

    def wait_ended(self) -> int:
        """Return the exit status when the process has ended by itself."""
        status = self.process.wait(DEADLINE_SECONDS)
        self._reader.join(DEADLINE_SECONDS)
        assert not self._reader.is_alive(), "something the server started outlives it"
        return status

    @property
    def said(self) -> str:
        """The last lines that it wrote."""
        return "".join(self.lines)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                del self.lines[:-LINES_MAX]
                if found := _LISTENING.search(line):
                    self.url = found[1]
                    self._listening.set()
        self._listening.set()


def of_roots(roots: Mapping[str, Path], database: Path, *words: str) -> Server:
    """Return a server that is not started yet.

    Args:
        roots: directory of each root by name.
        database: the log's file.
        words: further words after `nasfeed serve`.
    """
    directories = [f"{name}={path}" for name, path in roots.items()]
    return Server(*directories, "--db", str(database), "--port", "0", *words)


@contextlib.contextmanager
def serving(roots: Mapping[str, Path], database: Path, *words: str) -> Iterator[Server]:
    """Start a server and wait until its feed answers; in the end it is killed if it still runs."""
    with _mortal(of_roots(roots, database, *words)) as server:
        server.start()
        server.wait_ready()
        yield server


@contextlib.contextmanager
def running(*words: str) -> Iterator[Server]:
    """Start a server and wait until it listens or has ended; killed if it still runs in the end."""
    with _mortal(Server(*words)) as server:
        server.launch()
        if "--config" not in words:  # then it may say so elsewhere
            server.wait()
        yield server


@contextlib.contextmanager
def _mortal(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        if server.running:
            server.kill()
