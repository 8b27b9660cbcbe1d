"""Times of day in which disks may sleep."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from eventlog.events import Content
from tests.watcher.nas import running, write
from watcher.quiet import QuietHours, Span, parse_spans


def at(hour: int, minute: int = 0) -> int:
    return int(datetime(2024, 5, 17, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000


def test_spans_are_read() -> None:
    assert parse_spans("23:00-07:30") == (Span(1380, 450),)
    assert parse_spans("00:00 - 06:00, 12:00-13:00") == (Span(0, 360), Span(720, 780))


@pytest.mark.parametrize("text", ["", "23-7", "24:00-07:00", "07:00-07:00", "23:00-07:00,"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 23:00-07:00"):
        parse_spans(text)


@pytest.mark.parametrize(
    ("hour", "minute", "quiet"),
    [(22, 59, False), (23, 0, True), (0, 0, True), (6, 59, True), (7, 0, False), (12, 0, False)],
)
def test_a_span_may_go_over_midnight(hour: int, minute: int, quiet: bool) -> None:  # noqa: FBT001
    assert QuietHours(parse_spans("23:00-07:00"), UTC).hold(at(hour, minute)) == quiet


def test_times_are_those_of_the_zone() -> None:
    quiet = QuietHours(parse_spans("12:00-13:00"), timezone(timedelta(hours=2)))
    assert quiet.hold(at(10, 30))
    assert not quiet.hold(at(12, 30))


def test_it_is_never_quiet_by_default() -> None:
    assert not QuietHours().hold(at(3))


def test_no_file_is_read_until_it_is_no_longer_quiet(tmp_path: Path) -> None:
    with running(tmp_path, "root", quiet_hours=(Span(0, 24 * 60),)) as nas:
        file = write(nas.roots["root"] / "file")
        nas.wait(lambda: nas.find(file) is not None, "it is known")
        nas.wait(lambda: nas.system.describer.status.pending == 1, "it waits")
        assert nas.system.status("1.2.3").metadata.quiet
        assert nas.node(file).state.content == Content.PENDING
        nas.system._observing._quiet = QuietHours()
        nas.see()
        assert not nas.system.status("1.2.3").metadata.quiet
