"""The walkers of one scan, as the scan sees them: they take directories and give back answers."""

import contextlib
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from watcher.backend import Foresighted
from watcher.nursery import Nursery
from watcher.walk import (
    LENGTH,
    Listed,
    Rules,
    Task,
    Todo,
    Walked,
    decode_listed,
    decode_walked,
    frame,
)

TASKS_MAX = 2
"""Tasks that a walker has at once: while one is answered, it works on the other."""

TODOS_MAX = 64
"""Directories in a task."""

_READ_BYTES = 1 << 18


class _Walker:
    """A channel to one, which is never waited for."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)  # noqa: FBT003 - the standard library's
        self.channel = channel
        self.tasks: deque[Task] = deque()
        self.to_send = bytearray()
        self._received = bytearray()

    def give(self, task: Task) -> None:
        self.tasks.append(task)
        self.to_send += frame(task)
        self.send()

    def send(self) -> None:
        """Write as much as goes; that it is dead is seen when it is read from."""
        try:
            while self.to_send:
                del self.to_send[: self.channel.send(self.to_send)]
        except BlockingIOError:
            return
        except OSError:
            self.to_send.clear()

    def receive(self) -> bool:
        """Read what is there; returns whether it lives."""
        try:
            data = self.channel.recv(_READ_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._received += data
        return bool(data)

    def answers(self) -> Iterable[Walked | Listed]:
        """Take the whole answers of what was read."""
        received = self._received
        while len(received) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            decode = decode_listed if self.tasks.popleft().fresh else decode_walked
            yield decode(bytes(received[LENGTH.size : end]))
            del received[:end]


class Walkers:
    """Walkers let to one scan.

    Args:
        nursery: makes them.
        backend: told what they have listed.
        rules: what they go by.
        root_fd: the directory in which the scan begins.
        warn: told, once for each, that one has died.
    """

    def __init__(
        self,
        nursery: Nursery,
        backend: Foresighted,
        rules: Rules,
        root_fd: int,
        warn: Callable[[str], None],
    ) -> None:
        self._nursery = nursery
        self._backend = backend
        self._warn = warn
        self._living: dict[int, _Walker] = {}
        beginning = frame(rules)
        channels = nursery.walkers()
        self._let = len(channels)
        self._closed = False
        for channel in channels:
            with contextlib.suppress(OSError):  # it has died; that will be seen
                socket.send_fds(channel, [beginning], [root_fd])
            self._living[channel.fileno()] = _Walker(channel)

    def __bool__(self) -> bool:
        """Return whether any live."""
        return bool(self._living)

    @property
    def busy(self) -> bool:
        """Whether answers are still to come."""
        return any(walker.tasks for walker in self._living.values())

    def give(self, todos: list[Todo], stand_in: Callable[[], int] | None = None) -> None:
        """Take directories off the end of a list, so that every walker has enough to do.

        Args:
            todos: the list.
            stand_in: nothing is known of them: gives what stands for the first that is found.
        """
        fresh = stand_in is not None
        for turn in range(TASKS_MAX):
            for walker in self._living.values():
                if todos and len(walker.tasks) <= turn:
                    size = min(TODOS_MAX, -(-len(todos) // len(self._living)))
                    walker.give(Task(todos[-size:], fresh, stand_in() if stand_in else 0))
                    del todos[-size:]

    def take(self, seconds: float) -> list[Walked | Listed]:
        """Wait for answers, and have directories watched that are as they are known.

        Args:
            seconds: the longest wait.

        Returns:
            Those that came. What one had to do that has died is left to others, as if it could
            not be read.
        """
        answers: list[Walked | Listed] = []
        for walker in self._ready(seconds):
            walker.send()
            lives = walker.receive()
            answers += walker.answers()
            if not lives:
                answers.append(self._bury(walker))
        for answer in answers:
            if isinstance(answer, Walked):
                self.watch(answer.numbers, answer.keys)
        return answers

    def watch(self, numbers: Sequence[int], keys: Sequence[bytes]) -> None:
        """Have directories watched that walkers have listed."""
        self._backend.watch_listed(numbers, keys)

    def close(self) -> None:
        """Let them go; a second call does nothing."""
        for walker in self._living.values():
            walker.channel.close()
        self._living.clear()
        self._nursery.give_back(self._let)
        self._let = 0
        if not self._closed:
            self._closed = True
            self._backend.forget_strangers()

    def _ready(self, seconds: float) -> list[_Walker]:
        poll = select.poll()
        for fd, walker in self._living.items():
            poll.register(fd, select.POLLIN | (select.POLLOUT if walker.to_send else 0))
        return [self._living[fd] for fd, _ in poll.poll(seconds * 1000)]

    def _bury(self, walker: _Walker) -> Walked:
        del self._living[walker.channel.fileno()]
        walker.channel.close()
        self._warn("a process that walked for the scan has died; the server does its work itself")
        return Walked(0, [], [], [todo for task in walker.tasks for todo in task.todos], [])
