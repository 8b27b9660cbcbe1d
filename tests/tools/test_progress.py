import io
import os
import pty

import pytest

from tools.progress import LOG_SECONDS, Progress, Step, describe


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def now_us(self) -> int:
        return int(self.seconds * 1e6)

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("step", "rate", "line"),
    [
        (Step("scanning", "entries", 0), 0.0, "scanning: 0 entries"),
        (Step("scanning", "entries", 120_000), 85_000.4, "scanning: 120,000 entries, 85,000/s"),
        (
            Step("metadata", "files", 1_200, 6_000),
            400.0,
            "metadata: 1,200 of 6,000 files (20 %), 400/s, 12 s left",
        ),
        (
            Step("metadata", "files", 6_000, 6_000),
            400.0,
            "metadata: 6,000 of 6,000 files (100 %), 400/s",
        ),
        (
            Step("metadata", "files", 6_100, 6_000),
            400.0,
            "metadata: 6,100 of 6,000 files (100 %), 400/s",
        ),
        (Step("a", "files", 1, 7_201), 0.5, "a: 1 of 7,201 files (0 %), 4 h 00 min left"),
        (Step("a", "files", 0, 0), 0.0, "a: 0 files"),
    ],
)
def test_a_step_in_words(step: Step, rate: float, line: str) -> None:
    assert describe(step, rate) == line


def test_without_a_terminal_a_log_line_is_written_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, clock)
    caplog.set_level("INFO")
    for second in range(25):
        clock.seconds = 1000.0 + second
        progress.show(Step("scanning", "entries", 100 * second))
    progress.clear()
    assert caplog.messages == [
        "scanning: 1,000 entries, 100/s",
        "scanning: 2,000 entries, 100/s",
    ]
    assert stream.getvalue() == ""


def test_the_rate_counts_from_where_the_work_began(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = Progress(io.StringIO(), clock)
    caplog.set_level("INFO")
    progress.show(Step("metadata", "files", 5_000, 6_000))
    clock.seconds += LOG_SECONDS
    progress.show(Step("metadata", "files", 5_500, 6_000))
    assert caplog.messages == ["metadata: 5,500 of 6,000 files (91 %), 50/s, 10 s left"]


def test_on_a_terminal_one_line_is_written_over_and_erased() -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen, os.fdopen(follower, "w") as stream:
        clock = Clock()
        progress = Progress(stream, clock)
        progress.show(Step("scanning", "entries", 1))
        progress.show(Step("scanning", "entries", 2))  # too soon
        clock.seconds += 1
        progress.show(Step("scanning", "entries", 3))
        progress.clear()
        progress.clear()
        shown = b""
        while shown.count(b"\x1b[K") < 3:  # a terminal hands out what it has, not all at once
            shown += screen.read(1000)
    assert shown.decode() == ("\r\x1b[Kscanning: 1 entries\r\x1b[Kscanning: 3 entries, 2/s\r\x1b[K")
