"""How far long work is: one line on a terminal, written over; elsewhere a log line at times."""

import logging
import os
from typing import NamedTuple, TextIO

from eventlog.clock import Clock
from tools.text import duration

REDRAW_SECONDS = 0.2
"""Often enough to look alive, seldom enough to cost nothing."""

LOG_SECONDS = 10.0
"""Between log lines where there is no terminal."""

_ERASE = "\r\x1b[K"
_log = logging.getLogger("nasfeed")


class Step(NamedTuple):
    """How far some work is.

    Attributes:
        what: the work, as `scanning`.
        unit: what is counted, as `entries`.
        done: how many so far.
        total: how many there will be, or None when nobody knows.
    """

    what: str
    unit: str
    done: int
    total: int | None = None


def describe(step: Step, rate: float) -> str:
    """Say how far some work is.

    Args:
        step: the work.
        rate: units a second; 0 when not known yet.

    Returns:
        One line without an end, such as `metadata: 1,200 of 6,000 files (20 %), 400/s, 12 s left`.
    """
    parts = [f"{step.what}: {step.done:,} {step.unit}"]
    if step.total:
        share = min(100 * step.done // step.total, 100)
        parts = [f"{step.what}: {step.done:,} of {step.total:,} {step.unit} ({share} %)"]
    if rate >= 1:
        parts.append(f"{rate:,.0f}/s")
    if rate > 0 and step.total and step.total > step.done:
        parts.append(f"{duration((step.total - step.done) / rate)} left")
    return ", ".join(parts)


class Progress:
    """Shows how far work is.

    Args:
        stream: where; usually standard error.
        clock: for rates.
    """

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._terminal = stream.isatty()
        self._interval = REDRAW_SECONDS if self._terminal else LOG_SECONDS
        self._work = ""
        self._first = (0.0, 0)
        self._shown_at = 0.0
        self._drawn = False

    def show(self, step: Step) -> None:
        """Show a step, unless another was shown just now. May be called as often as one likes.

        On a terminal the first step of a work is shown at once; a log gets none of work that is
        done before a line is due.
        """
        now = self._clock.monotonic()
        if step.what != self._work:
            self._work, self._first = step.what, (now, step.done)
            self._shown_at = now - REDRAW_SECONDS
        if now - self._shown_at < self._interval:
            return
        self._shown_at = now
        self._put(describe(step, self._rate(now, step.done)))

    def clear(self) -> None:
        """Take the line away, before something else is written or when the work is done."""
        if self._drawn:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._drawn = False

    def _rate(self, now: float, done: int) -> float:
        since, at_first = self._first
        return (done - at_first) / (now - since) if now > since else 0.0

    def _put(self, line: str) -> None:
        if not self._terminal:
            _log.info(line)
            return
        self._stream.write(f"{_ERASE}{line[: self._columns() - 1]}")
        self._stream.flush()
        self._drawn = True

    def _columns(self) -> int:
        """A line that wraps could not be erased."""
        return os.get_terminal_size(self._stream.fileno()).columns or 80
