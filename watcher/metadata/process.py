"""A worker process as the pool sees it."""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

import watcher
from watcher.metadata.arguments import Arguments
from watcher.metadata.blackbox import BlackBox
from watcher.metadata.task import Limits, Outcome
from watcher.metadata.wire import Stage, Work, decode_outcomes, encode_works, frame, take_frames

_READ_BYTES = 1 << 16
_REAP_SECONDS = 2.0
_PACKAGES = Path(str(watcher.__file__)).parents[1]


class Death(NamedTuple):
    """What is known of a worker that ended.

    Attributes:
        ready: whether it had begun to serve.
        signal: number of the signal that killed it, or 0.
        cause: one line.
        stage: what it was doing.
        culprit: the work it was on, if any.
        others: works it had and did not finish, or whose outcome was lost with it.
    """

    ready: bool
    signal: int
    cause: str
    stage: Stage
    culprit: Work | None
    others: list[Work]


class WorkerProcess:
    """Starts a worker; sends it works and receives outcomes without ever waiting for it.

    Args:
        limits: what it may use.
        idle_seconds: after how long without work it ends; 0: never.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, limits: Limits, idle_seconds: float = 0) -> None:
        self._box = BlackBox.create()
        try:
            self._process = self._spawn(limits, idle_seconds)
        except BaseException:
            self._box.close()
            raise
        self._orders, self._results = self._pipes()
        self._to_send = bytearray()
        self._received = bytearray()
        self._answered = 0
        self._ready = False
        self._noise = ""
        self.works: deque[Work] = deque()
        """What it was given and has not answered, in order."""

    def _spawn(self, limits: Limits, idle_seconds: float) -> subprocess.Popen[bytes]:
        """Start Python afresh: a fork would share locks and a gigabyte of memory maps.

        It runs where the packages lie, so that it finds these very ones without an environment.
        """
        arguments = Arguments(
            box=self._box.fd,
            parent=os.getpid(),
            parse_seconds=limits.parse_seconds,
            memory_bytes=limits.memory_bytes,
            bytes_per_second=limits.bytes_per_second,
            idle_seconds=idle_seconds,
        )
        return subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
            [sys.executable, "-m", "watcher.metadata.worker", *arguments.words()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._box.fd,),
            cwd=_PACKAGES,
        )

    def _pipes(self) -> tuple[int, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pipes = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in pipes:
            os.set_blocking(pipe, False)
        return pipes

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def orders(self) -> int:
        """The descriptor to be watched for room while `wants_to_send`."""
        return self._orders

    @property
    def results(self) -> int:
        """The descriptor to be watched for outcomes, and for its end."""
        return self._results

    @property
    def wants_to_send(self) -> bool:
        """Whether works wait for room in the pipe."""
        return bool(self._to_send)

    def give(self, works: Sequence[Work]) -> None:
        """Hand it works; `send` may have to be called again to bring them to it."""
        self.works.extend(works)
        self._to_send += frame(encode_works(works))
        self.send()

    def send(self) -> None:
        """Write as much as the pipe takes. That it is dead is seen when it is read from."""
        try:
            while self._to_send:
                del self._to_send[: os.write(self._orders, self._to_send)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._to_send.clear()

    def receive(self) -> tuple[list[Outcome], bool]:
        """Take what it has written.

        Returns:
            Outcomes, and whether it still lives. One that writes nonsense is killed.
        """
        alive = self._read()
        outcomes: list[Outcome] = []
        try:
            self._take(outcomes)
        except (ValueError, msgspec.MsgspecError) as error:
            self._noise = f"it wrote nonsense: {error}"
            self._process.kill()
            alive = False
        return outcomes, alive

    def _read(self) -> bool:
        try:
            while part := os.read(self._results, _READ_BYTES):
                self._received += part
        except BlockingIOError:
            return True
        return False

    def _take(self, outcomes: list[Outcome]) -> None:
        for body in take_frames(self._received):
            self._ready = True
            for outcome in decode_outcomes(body):
                if not self.works or self.works[0].task.number != outcome.number:
                    raise ValueError(f"an outcome for {outcome.number}, which was not asked")
                self.works.popleft()
                self._answered += 1
                outcomes.append(outcome)

    def bury(self) -> Death:
        """Reap a worker that has ended, or is just about to.

        Returns:
            What it died of, and what it leaves.
        """
        code = self._reap()
        started, stage = self._box.read()
        place = started - self._answered - 1
        works = list(self.works)
        culprit = works.pop(place) if stage and 0 <= place < len(works) else None
        self._free()
        return Death(self._ready, max(0, -code), self._noise or _cause(code), stage, culprit, works)

    def _reap(self) -> int:
        """Return its exit code; one that does not end is killed, then given up."""
        for _ in range(2):
            try:
                return self._process.wait(_REAP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._leave()
        return -signal.SIGKILL

    def kill(self) -> None:
        """End it at once; `free` is to follow."""
        self._process.kill()

    def free(self, timeout_seconds: float) -> bool:
        """Reap it after `kill` and free what belongs to it.

        Args:
            timeout_seconds: the longest wait. A process that waits for a dead disk cannot even
                be killed; it goes when the disk comes back.

        Returns:
            Whether it is gone.
        """
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._leave()
            return False
        finally:
            self._free()
        return True

    def _leave(self) -> None:
        """Have it reaped whenever it ends, by a thread that nobody waits for."""
        reaper = threading.Thread(target=self._process.wait, name=f"reaper-{self.pid}", daemon=True)
        reaper.start()

    def _free(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._box.close()


def _cause(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    return signal.Signals(-code).name
