"""How long is waited before something is tried again."""

from tools.client.backoff import MAX_SECONDS, Backoff


def test_the_waits_double_up_to_a_limit() -> None:
    backoff = Backoff(1, 10, lambda: 1.0)
    assert [backoff.after_failure() for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_chance_takes_up_to_half_of_a_wait() -> None:
    assert Backoff(1, 10, lambda: 0.0).after_failure() == 0.5
    waits = {Backoff(8, 8).after_failure() for _ in range(20)}
    assert len(waits) > 10
    assert all(4 <= wait <= 8 for wait in waits)


def test_what_was_asked_for_counts_up_to_the_limit() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    assert backoff.after_failure(5) == 5
    assert backoff.after_failure(10_000) == MAX_SECONDS


def test_a_success_begins_anew() -> None:
    backoff = Backoff(1, 10, lambda: 1.0)
    fresh = [backoff.is_fresh]
    backoff.after_failure()
    fresh.append(backoff.is_fresh)
    backoff.after_success()
    fresh.append(backoff.is_fresh)
    assert fresh == [True, False, True]
    assert backoff.after_failure() == 1
