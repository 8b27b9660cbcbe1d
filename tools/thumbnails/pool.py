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
from tools.thumbnails.wire import READY, Order, Result

CPU_SECONDS: Final = 20.0
"""Of processor time for one file; who takes more would take it again."""

SECONDS: Final = 120.0
"""That a worker may say nothing, by the clock. A disk may spin up, and the machine may be busy."""

TRIES: Final = 2
"""Workers that may die of a file. One alone may have been ended by somebody else."""

ANSWER_MAX: Final = 64 * 2**20

_PACKAGES: Final = Path(str(tools.__file__)).parents[1]


class Pool:
    """Has files looked at by workers; any thread may ask.

    Args:
        workers: how many there may be; they are started when they are needed.
        seconds: the longest that one may say nothing, by the clock.
        cpu_seconds: of processor time that one file may take.
    """

    def __init__(
        self, workers: int, seconds: float = SECONDS, cpu_seconds: float = CPU_SECONDS
    ) -> None:
        self._seconds = seconds
        self._cpu_seconds = cpu_seconds
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
            What came of it. It is a lasting problem of the file that two workers died of it, or
            that it takes too much processor time; it is none that it took long by the clock.

        Raises:
            OSError: the pool is closed, or no process can be started.
        """
        worker = self._idle.get()
        try:
            for _ in range(TRIES):
                worker = self._living(worker)
                try:
                    return worker.do(fd, order, self._seconds)
                except (OSError, EOFError, msgspec.MsgspecError) as error:
                    result = self._result_of(worker, error)
                    worker = None
                if result is not None:
                    return result
            return Result([], None, f"{TRIES} workers died of it")
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End all workers at once; whoever waits for one is told."""
        self._closed.set()
        with self._lock:
            for worker in self._working:
                worker.kill()
            self._working.clear()

    def _living(self, worker: "_Worker | None") -> "_Worker":
        """Return a worker that can take an order, a new one if need be."""
        if worker is not None and worker.is_alive():
            return worker
        if worker is not None:
            self._end(worker)
        with self._lock:
            if self._closed.is_set():
                raise OSError(errno.ECANCELED, "no thumbnails are made any more")
            worker = _Worker(self._cpu_seconds)
            self._working.add(worker)
        try:
            worker.await_ready(self._seconds)
        except (OSError, EOFError) as error:
            status = self._end(worker)
            raise OSError(errno.ECHILD, f"a worker ended as it began, status {status}") from error
        return worker

    def _result_of(self, worker: "_Worker", error: Exception) -> Result | None:
        """End a worker that failed; return what that says of the file, None for nothing yet.

        Raises:
            OSError: the pool is closed.
        """
        status = self._end(worker)
        if self._closed.is_set():
            raise OSError(errno.ECANCELED, "no thumbnails are made any more") from error
        if isinstance(error, TimeoutError):
            problem = f"nothing came of it for {self._seconds:g} seconds"
            return Result([], None, problem, lasting=False)
        if status == -signal.SIGPROF:
            problem = f"it takes more than {self._cpu_seconds:g} seconds of processor time"
            return Result([], None, problem)
        return None

    def _end(self, worker: "_Worker") -> int:
        """End a worker; return its exit status, negative for a signal."""
        with self._lock:
            self._working.discard(worker)
        return worker.kill()


class _Worker:
    """A process.

    Args:
        cpu_seconds: of processor time that one file may take.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, cpu_seconds: float) -> None:
        self._link, theirs = socket.socketpair()
        worker = [sys.executable, "-m", "tools.thumbnails.worker"]
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [*worker, str(os.getpid()), str(cpu_seconds)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd=_PACKAGES,
                    start_new_session=True,
                )
        except OSError:
            self._link.close()
            raise

    def is_alive(self) -> bool:
        """Say whether it has not died while there was nothing to do."""
        return self._process.poll() is None

    def await_ready(self, seconds: float) -> None:
        """Wait until it can take orders.

        Raises:
            OSError: that takes too long.
            EOFError: it died.
        """
        self._link.settimeout(seconds)
        self._receive(len(READY))

    def do(self, fd: int, order: Order, seconds: float) -> Result:
        """See `Pool.do`.

        Raises:
            TimeoutError: it said nothing for so many seconds.
            OSError: it is dead.
            EOFError: it died.
        """
        self._link.settimeout(seconds)
        socket.send_fds(self._link, [msgspec.json.encode(order)], [fd])
        size = int.from_bytes(self._receive(8))
        if size > ANSWER_MAX:
            raise EOFError
        return msgspec.msgpack.decode(self._receive(size), type=Result)

    def kill(self) -> int:
        """End it at once, and have whoever waits for it told; return its exit status."""
        self._process.send_signal(signal.SIGKILL)
        status = self._process.wait()
        self._link.close()
        return status

    def _receive(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            part = self._link.recv(min(size - len(received), 2**18))
            if not part:
                raise EOFError
            received += part
        return bytes(received)
