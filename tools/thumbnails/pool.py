"""The worker processes as the server sees them: each works for one request at a time."""

import errno
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

import msgspec

import tools
from tools.thumbnails.wire import Order, Result

SECONDS: Final = 15.0
"""For one file, from the request to the whole answer."""

ANSWER_MAX: Final = 64 * 2**20

_PACKAGES: Final = Path(str(tools.__file__)).parents[1]


class Pool:
    """Has files looked at by workers; any thread may ask.

    Args:
        workers: how many there may be; they are started when they are needed.
        seconds: the longest that one file may take.
    """

    def __init__(self, workers: int, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._working: set[_Worker] = set()
        for _ in range(workers):
            self._idle.put(None)

    def do(self, fd: int, order: Order) -> Result:
        """Have a worker do something with an open file.

        Args:
            fd: of the file; stays open.
            order: what is wanted.

        Returns:
            What came of it; a worker that died or took too long is a problem of the file.

        Raises:
            OSError: the pool is closed, or no process can be started.
        """
        worker = self._idle.get()
        try:
            worker = worker or self._started()
            return worker.do(fd, order)
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            if worker is None or self._closed.is_set():
                raise OSError(errno.ECANCELED, "no thumbnails are made now") from error
            self._end(worker)
            worker = None
            return Result([], None, f"the worker gave up: {type(error).__name__}")
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all workers at once; whoever waits for one is told."""
        self._closed.set()
        with self._lock:
            for worker in self._working:
                worker.kill()
            self._working.clear()

    def _started(self) -> "_Worker":
        with self._lock:
            if self._closed.is_set():
                raise OSError(errno.ECANCELED, "the pool is closed")
            worker = _Worker(self._seconds)
            self._working.add(worker)
            return worker

    def _end(self, worker: "_Worker") -> None:
        with self._lock:
            self._working.discard(worker)
        worker.kill()


class _Worker:
    """A process.

    Args:
        seconds: the longest that one file may take.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, seconds: float) -> None:
        self._link, theirs = socket.socketpair()
        self._link.settimeout(seconds)
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [sys.executable, "-m", "tools.thumbnails.worker", str(os.getpid())],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=_PACKAGES,
                    start_new_session=True,
                )
        except OSError:
            self._link.close()
            raise

    def do(self, fd: int, order: Order) -> Result:
        """See `Pool.do`.

        Raises:
            OSError: it took too long, or is dead.
            EOFError: it died.
        """
        socket.send_fds(self._link, [msgspec.json.encode(order)], [fd])
        size = int.from_bytes(self._receive(8))
        if size > ANSWER_MAX:
            raise EOFError
        return msgspec.msgpack.decode(self._receive(size), type=Result)

    def kill(self) -> None:
        """End it at once, and have whoever waits for it told."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._link.close()

    def _receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self._link.recv(min(size - len(received), 2**18))
            if not part:
                raise EOFError
            received += part
        return bytes(received)
