"""A log that lives long never gives a cursor a wrong answer; the test would see it if it did."""

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from eventlog import compaction
from tests.projections.long_life import LongLife

EXAMPLES = {"nightly": 20_000}
"""By profile; else 500."""

TestLongLife = LongLife.TestCase
TestLongLife.settings = settings(
    max_examples=EXAMPLES.get(settings.get_current_profile_name(), 500), stateful_step_count=30
)

DROPS_TOMBSTONES = (
    "select position, 0 from nodes where parent is null and position > ? and position <= ?"
)


def test_a_compaction_that_drops_a_tombstone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SUPERSEDED", DROPS_TOMBSTONES)
    searched = settings(
        max_examples=500,
        stateful_step_count=30,
        phases=[Phase.generate],
        database=None,
        report_multiple_bugs=False,
        print_blob=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(LongLife, settings=searched)
