"""Child processes, and what they and their children cost."""

import contextlib
import os
import resource
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from eventlog.clock import SystemClock
from tools.errors import OperatorError

CLOCK = SystemClock()

DEADLINE_SECONDS = 3600.0
"""For anything that is measured; the slowest peer hashes a million files in less."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Child:
    """A program that was started to be measured.

    Args:
        words: its command line.
        output: file that takes what it prints.
        directory: where it runs.
    """

    def __init__(self, words: list[str], output: Path, directory: Path | None = None) -> None:
        self._output = output
        self.started = CLOCK.monotonic()
        with output.open("ab") as stream:
            self.process = subprocess.Popen(  # noqa: S603 - the command lines are this package's
                words, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, cwd=directory
            )

    def age(self) -> float:
        """Return the seconds since it was started."""
        return CLOCK.monotonic() - self.started

    def wait_until(self, true: Callable[[], bool], pause_seconds: float = 0.01) -> float:
        """Wait for something that the program does.

        Returns:
            The seconds from its start until then.

        Raises:
            OperatorError: it ended, or the deadline passed.
        """
        pause = threading.Event()
        while not true():
            if self.process.poll() is not None or self.age() > DEADLINE_SECONDS:
                raise self._failed("did not get ready")
            pause.wait(pause_seconds)
        return self.age()

    def cpu_seconds(self) -> float:
        """Return the processor time that it, its living and its reaped children took."""
        return cpu_seconds(self.process.pid)

    def memory_bytes(self) -> int:
        """Return the memory of it and its living children, shared pages counted once (PSS)."""
        return sum(_pss_bytes(pid) for pid in family(self.process.pid))

    def finish(self) -> tuple[float, float]:
        """Wait for its end.

        Returns:
            The seconds from its start until then, and the processor time of it and its children.

        Raises:
            OperatorError: it did not end well.
        """
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        if status := self.process.wait(DEADLINE_SECONDS):
            raise self._failed(f"ended with {status}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return self.age(), used

    def stop(self) -> None:
        """Ask it to end, and wait until it has.

        Raises:
            OperatorError: it had to be killed.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise self._failed("did not stop") from error

    def _failed(self, what: str) -> OperatorError:
        said = self._output.read_text(errors="replace").strip().splitlines()[-1:]
        return OperatorError(f"{self.process.args!r} {what}; it said: {said}")

    def kill(self) -> None:
        """End it if it has not ended yet."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process, its living and its reaped children took."""
    return sum(_cpu_seconds(each) for each in family(pid))


def family(pid: int) -> list[int]:
    """Return a process and all its living descendants."""
    parents = dict(_parents())
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    """Yield each process and its parent."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit() and (fields := _stat(int(place.name))):
            yield int(place.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat (proc_pid_stat(5)) from the third on."""
    with contextlib.suppress(OSError):  # it has ended
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _cpu_seconds(pid: int) -> float:
    return sum(map(int, _stat(pid)[11:15])) / _TICKS


def _pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process (proc_pid_smaps(5)); 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
