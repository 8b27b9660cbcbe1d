"""After a restore, a cursor of the log that was replaced is refused or still true."""

from pathlib import Path

import pytest

from eventlog.connection import open_writer
from eventlog.epochs import LEAP, PER_SECOND, Gap, begin, format_gaps, is_lost, parse_gaps
from eventlog.errors import LogFormatError
from eventlog.identifiers import NUMBER_MAX
from eventlog.log import Log
from projections.replay import FOLDS
from tests.eventlog.helpers import assert_sound, created, files, root_state

YEAR_2026_US = 1_772_625_600_000_000


def restored(path: Path, others: list[int], now_us: int) -> int:
    connection = open_writer(str(path))
    with connection:
        head = begin(connection, others, now_us)
    connection.close()
    return head


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    log = Log(str(path), FOLDS)
    log.append([created(root_state()), *files(9)])
    log.close()
    return path


def test_a_log_gets_a_new_id_and_goes_on_far_above(path: Path) -> None:
    log = Log(str(path), FOLDS)
    old = log.log_id, log.ids.to_id(1)
    log.close()
    head = restored(path, [5_000], YEAR_2026_US)
    log = Log(str(path), FOLDS)
    assert log.log_id != old[0]
    assert log.ids.to_id(1) == old[1]
    assert log.head == head
    assert log.append(files(1, "after")) == head + 1
    log.close()
    assert_sound(path)


def test_what_the_replaced_log_gave_is_lost_and_the_rest_is_not(path: Path) -> None:
    head = restored(path, [5_000], YEAR_2026_US)
    log = Log(str(path), FOLDS)
    for position in (0, 1, 10, head, head + 1):
        assert not is_lost(position, log.gaps)
    for position in (11, 5_000, 5_001, head - 1):
        assert is_lost(position, log.gaps)
    log.close()


def test_it_leaps_above_all_known_heads_even_without_a_clock(path: Path) -> None:
    assert restored(path, [], 0) == 10 + LEAP
    assert restored(path, [7 * LEAP], 0) == 8 * LEAP


def test_a_later_restore_is_above_an_earlier_epoch_that_nobody_remembers(path: Path) -> None:
    """The database in place is lost, and the backup is older than the last restore."""
    backup = path.read_bytes()
    first = restored(path, [], YEAR_2026_US)
    given = first + 60 * (PER_SECOND - 1)  # a minute at a rate that no log keeps up
    path.write_bytes(backup)
    assert restored(path, [], YEAR_2026_US + 60_000_000) > given


def test_gaps_add_up(path: Path) -> None:
    first = restored(path, [], 0)
    second = restored(path, [first + 3], 0)
    log = Log(str(path), FOLDS)
    assert log.gaps == (Gap(10, first), Gap(first, second))
    log.close()


def test_gaps_are_read_as_they_were_written() -> None:
    gaps = (Gap(0, 7), Gap(9, 2**42))
    assert parse_gaps(format_gaps(gaps)) == gaps
    assert parse_gaps("") == ()
    with pytest.raises(ValueError, match="x"):
        parse_gaps("1-x")


def test_used_up_positions_are_refused(path: Path) -> None:
    with pytest.raises(LogFormatError, match="used up"):
        restored(path, [NUMBER_MAX - 1], 0)


def test_damaged_gaps_are_refused(path: Path) -> None:
    connection = open_writer(str(path))
    connection.execute("insert into meta values ('gaps', 'x')")
    connection.close()
    with pytest.raises(LogFormatError, match="its own facts are missing or wrong"):
        Log(str(path), FOLDS)
    with pytest.raises(LogFormatError, match="its own facts are damaged"):
        restored(path, [], 0)
