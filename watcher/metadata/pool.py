"""Worker processes, kept busy and alive."""

import logging
import os
import selectors
import threading
from collections.abc import Iterator, Sequence

from eventlog.clock import Clock, SystemClock
from watcher.metadata.blame import after_death
from watcher.metadata.process import Death, WorkerProcess
from watcher.metadata.schedule import Schedule, is_large
from watcher.metadata.task import Limits, Outcome, Task
from watcher.metadata.wire import Work

_log = logging.getLogger(__name__)

_CLOSE_SECONDS = 0.5
_IDLE_SECONDS = 60.0
"""A worker holds 30 MB. One stays, so that a file saved now and then need not wait for a start."""
_BACKOFF_FIRST_SECONDS = 0.5
_BACKOFF_MAX_SECONDS = 60.0


class ProbePool:
    """Describes files in worker processes; used by one thread, but for `wake`.

    Workers start when they are first needed, from the thread that calls; they die with it, as
    the kernel binds them to that thread. One that dies is replaced; the file it died on is tried
    again without what killed it, the others it had are done again.

    Args:
        workers: how many processes at most.
        limits: what each may use.
        capacity: how many tasks may be inside at a time.
        clock: for the pause before another attempt to start a worker.

    Attributes:
        deaths: how many workers ended without being asked to.
    """

    def __init__(
        self,
        workers: int,
        *,
        limits: Limits | None = None,
        capacity: int = 4096,
        clock: Clock | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"{workers} workers: there must be at least one")
        self._limits = limits or Limits()
        self._clock = clock or SystemClock()
        self._capacity = capacity
        self._schedule = Schedule(workers)
        self._slots = workers
        self._workers: list[WorkerProcess] = []
        self._finished: list[Outcome] = []
        self._inside = 0
        self._failures = 0
        self.deaths = 0
        self._start_after = 0.0
        self._closed = False
        self._closing = threading.Lock()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ)

    @property
    def room(self) -> int:
        """How many tasks `submit` takes now."""
        return self._capacity - self._inside

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [worker.pid for worker in self._workers]

    def submit(self, tasks: Sequence[Task]) -> None:
        """Have files described, roughly in the order given; large ones after small ones.

        Raises:
            ValueError: more than there is `room` for.
        """
        if len(tasks) > self.room:
            raise ValueError(f"{len(tasks)} tasks where there is room for {self.room}")
        self._inside += len(tasks)
        self._schedule.add([Work(task) for task in tasks])
        self._dispatch()

    def collect(self, timeout_seconds: float) -> list[Outcome]:
        """Wait for outcomes.

        Args:
            timeout_seconds: the longest wait; 0 does not wait.

        Returns:
            Those that are there, in no order, at least one; or none after the timeout or `wake`.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        woken = False
        while not (self._finished or woken):
            self._dispatch()
            remaining = deadline - self._clock.monotonic()
            woken = self._serve(self._patience(remaining))
            if remaining <= 0:
                break
        self._dispatch()
        finished, self._finished = self._finished, []
        self._inside -= len(finished)
        return finished

    def wake(self) -> None:
        """Make a waiting `collect`, or the next one, return at once.

        Any thread may call it, after `close` too.
        """
        with self._closing:  # never write to a descriptor that by now is another file's
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Kill the workers and forget what they were doing. Takes less than a second."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        for worker in self._workers:
            worker.kill()
        deadline = self._clock.monotonic() + _CLOSE_SECONDS
        for worker in self._workers:
            if not worker.free(max(0.0, deadline - self._clock.monotonic())):
                _log.warning("metadata worker %d waits for a disk, left behind", worker.pid)
        self._workers.clear()
        self._selector.close()
        os.close(self._wake)

    def _patience(self, remaining: float) -> float:
        """Return how long to wait for the workers: not beyond the next attempt to start one."""
        if self._schedule.waiting and not self._workers:
            remaining = min(remaining, self._start_after - self._clock.monotonic())
        return max(0.0, remaining)

    def _dispatch(self) -> None:
        """Give a batch to every idle worker, starting what is missing, then a second one to all."""
        for worker in self._idle():
            self._give(worker)
        if self._schedule.waiting:
            for worker in self._workers:
                self._give(worker)

    def _idle(self) -> Iterator[WorkerProcess]:
        """The workers without work, then new ones for as long as works wait and slots are left."""
        for worker in self._workers:
            if not self._schedule.waiting:
                return
            if not worker.works:
                yield worker
        while self._schedule.waiting and len(self._workers) < self._slots:
            started = self._start()
            if started is None:
                return
            yield started

    def _give(self, worker: WorkerProcess) -> None:
        # A large file travels alone, and nothing is put behind it.
        large_running = sum(is_large(other.works[0]) for other in self._workers if other.works)
        if works := self._schedule.next_batch(worker.works, large_running):
            worker.give(works)
            self._watch(worker)

    def _start(self) -> WorkerProcess | None:
        if self._clock.monotonic() < self._start_after:
            return None
        try:
            worker = WorkerProcess(self._limits, _IDLE_SECONDS if self._workers else 0)
        except OSError as error:
            self._postpone(str(error))
            return None
        self._workers.append(worker)
        self._selector.register(worker.results, selectors.EVENT_READ, worker)
        return worker

    def _postpone(self, reason: str) -> None:
        """Wait longer after each start that failed, and say so: nothing else can be done."""
        pause = min(_BACKOFF_FIRST_SECONDS * 2**self._failures, _BACKOFF_MAX_SECONDS)
        self._failures += 1
        self._start_after = self._clock.monotonic() + pause
        _log.error("no metadata worker can start (%s); next attempt in %.1f s", reason, pause)

    def _watch(self, worker: WorkerProcess) -> None:
        """Watch the pipe to a worker for room only while something waits for it."""
        registered = worker.orders in self._selector.get_map()
        if worker.wants_to_send and not registered:
            self._selector.register(worker.orders, selectors.EVENT_WRITE, worker)
        elif registered and not worker.wants_to_send:
            self._selector.unregister(worker.orders)

    def _serve(self, timeout_seconds: float) -> bool:
        """Move what can be moved.

        Returns:
            Whether somebody called `wake`.
        """
        woken = False
        for key, mask in self._selector.select(timeout_seconds):
            if key.data is None:
                os.eventfd_read(self._wake)
                woken = True
            elif mask & selectors.EVENT_READ:
                self._hear(key.data)
            else:
                key.data.send()
                self._watch(key.data)
        return woken

    def _hear(self, worker: WorkerProcess) -> None:
        outcomes, alive = worker.receive()
        if outcomes:
            self._failures = 0
            self._finished += outcomes
        if not alive:
            self._replace(worker)

    def _replace(self, worker: WorkerProcess) -> None:
        """Take a dead worker out and decide what becomes of its works."""
        self._selector.unregister(worker.results)
        if worker.orders in self._selector.get_map():
            self._selector.unregister(worker.orders)
        self._workers.remove(worker)
        death = worker.bury()
        self.deaths += 1
        self._schedule.put_back(death.others)
        if not death.ready:
            self._postpone(death.cause)
        if death.culprit is not None:
            self._judge(death.culprit, death)

    def _judge(self, work: Work, death: Death) -> None:
        verdict = after_death(work, death, self._limits)
        if isinstance(verdict, Outcome):
            self._finished.append(verdict)
            return
        if not verdict.problem:
            _log.warning("a metadata worker died (%s); its file is tried again", death.cause)
        self._schedule.put_back([verdict])
