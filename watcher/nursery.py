"""Makes the processes that walk for the first scans, and no others.

They are forked, because a Python that starts afresh takes longer to import what is needed than to
list ten thousand files. A process of several threads cannot be forked safely: so one child is
forked while there is one thread and nothing is open, and that child forks the walkers when they
are asked for. It shares its memory with the server, as they do, and ends when the scans are over.
"""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Self

from watcher import walker

WALKERS_MAX = 4
"""More would only wait for the disk, or for the server."""


class Nursery:
    """A child that forks walkers.

    Args:
        channel: to it.
        pid: its process id.
        wait: waits for its end.
    """

    def __init__(self, channel: socket.socket, pid: int, wait: Callable[[], object]) -> None:
        self.pid = pid
        self._channel = channel
        self._wait = wait
        self._let = 0
        self._lock = threading.Lock()

    @classmethod
    def fork(cls) -> Self:
        """Fork it from this process, which must have one thread and nothing open.

        Raises:
            OSError: no process can be made.
        """
        ours, its = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            _end_after(lambda: serve(its))
        its.close()
        return cls(ours, pid, lambda: os.waitpid(pid, 0))

    def walkers(self) -> list[socket.socket]:
        """Have walkers made, for all the processors that have none yet.

        Returns:
            A channel to each, which ends when it is closed; see `watcher.walker.serve`.
        """
        made: list[socket.socket] = []
        # After an error it has ended, and the server does the work itself.
        with self._lock, contextlib.suppress(OSError):
            while self._let < min(WALKERS_MAX, len(os.sched_getaffinity(0))):
                made.append(self._walker())
                self._let += 1
        return made

    def give_back(self, count: int) -> None:
        """Say that walkers have been let go."""
        with self._lock:
            self._let -= count

    def close(self) -> None:
        """Have it end when the last walker has; a second call does nothing."""
        with self._lock:
            if self._channel.fileno() >= 0:
                self._channel.close()
                self._wait()

    def _walker(self) -> socket.socket:
        ours, its = socket.socketpair()
        with contextlib.ExitStack() as undo, its:
            undo.callback(ours.close)
            socket.send_fds(self._channel, [b"w"], [its.fileno()])
            undo.pop_all()
        return ours


def serve(channel: socket.socket) -> None:
    """Fork a walker for each descriptor that comes, until the other side closes the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the server
    while True:
        _, fds, _, _ = socket.recv_fds(channel, 1, 1)
        if not fds:
            break
        if os.fork() == 0:
            channel.close()
            _end_after(partial(walker.serve, socket.socket(fileno=fds[0])))
        os.close(fds[0])
    with contextlib.suppress(ChildProcessError):
        while os.wait():  # so that what they cost is counted with what the server cost
            pass


def _end_after(work: Callable[[], None]) -> None:
    """End this process after its work, without what a server does at its end."""
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)
