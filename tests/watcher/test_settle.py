"""When hints come out of settling: soon, once, and never lost."""

from hypothesis import given
from hypothesis import strategies as st

from watcher.backend import Place, Sign
from watcher.settle import LOOK_MAX_SECONDS, LOOK_QUIET_SECONDS, READ_MAX_SECONDS, Settling

A, B = Place(1, b"a"), Place(1, b"b")


def test_a_name_that_was_made_is_looked_at_at_once() -> None:
    settling = Settling()
    settling.note(A, Sign.CREATED, 10.0)
    assert settling.next_due() == 0.0
    assert settling.take(10.0, 100) == {A: Sign.CREATED}
    assert settling.take(10.0, 100) == {}


def test_signs_of_one_name_are_joined_until_it_is_looked_at() -> None:
    settling = Settling()
    for sign in (Sign.CREATED, Sign.WRITING, Sign.WRITTEN):
        settling.note(A, sign, 10.0)
    assert settling.take(10.0, 100) == {A: Sign.CREATED | Sign.WRITING | Sign.WRITTEN}


def test_a_file_that_is_only_written_is_looked_at_after_a_pause() -> None:
    settling = Settling()
    settling.note(A, Sign.WRITING, 10.0)
    assert settling.next_due() == 10.0 + LOOK_QUIET_SECONDS
    assert settling.take(10.0 + LOOK_QUIET_SECONDS / 2, 100) == {}
    assert settling.take(10.0 + LOOK_QUIET_SECONDS, 100) == {A: Sign.WRITING}


def test_a_file_that_is_written_without_a_pause_is_looked_at_now_and_then() -> None:
    settling, now, looks = Settling(), 10.0, 0
    for _ in range(1000):
        settling.note(A, Sign.WRITING, now)
        looks += len(settling.take(now, 100))
        now += LOOK_QUIET_SECONDS / 5
    passed = 1000 * LOOK_QUIET_SECONDS / 5
    assert looks == passed // LOOK_MAX_SECONDS - 1 or looks == passed // LOOK_MAX_SECONDS


def test_a_closed_file_is_looked_at_at_once_though_it_was_only_written_before() -> None:
    settling = Settling()
    settling.note(A, Sign.WRITING, 10.0)
    settling.note(A, Sign.WRITTEN, 10.1)
    assert settling.take(10.1, 100) == {A: Sign.WRITING | Sign.WRITTEN}
    assert settling.take(99.0, 100) == {}


def test_no_more_are_taken_than_asked_for_the_oldest_first() -> None:
    settling = Settling()
    places = [Place(1, b"%d" % number) for number in range(10)]
    for place in places:
        settling.note(place, Sign.CREATED, 10.0)
    assert list(settling.take(10.0, 4)) == places[:4]
    assert list(settling.take(10.0, 100)) == places[4:]


def test_a_file_counts_as_being_written_until_it_is_closed() -> None:
    settling = Settling()
    settling.note(A, Sign.WRITING, 10.0)
    assert settling.is_being_written(A, 10.5)
    assert not settling.is_being_written(B, 10.5)
    settling.note(A, Sign.WRITTEN, 10.6)
    assert not settling.is_being_written(A, 10.6)


def test_a_file_whose_writer_paused_may_be_read() -> None:
    settling = Settling()
    settling.note(A, Sign.WRITING, 10.0)
    assert not settling.is_being_written(A, 12.0)


def test_a_file_that_is_always_written_is_read_at_last() -> None:
    settling, now = Settling(), 10.0
    while now < 10.0 + READ_MAX_SECONDS:
        settling.note(A, Sign.WRITING, now)
        assert settling.is_being_written(A, now)
        now += 0.5
    assert not settling.is_being_written(A, now)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([A, B, Place(2, b"a")]),
        st.sampled_from(list(Sign)),
        st.floats(0, 3),
        st.booleans(),
    ),
    max_size=40,
)


@given(STEPS, st.integers(1, 3))
def test_every_sign_that_goes_in_comes_out_in_time(
    steps: list[tuple[Place, Sign, float, bool]], limit: int
) -> None:
    settling, now = Settling(), 0.0
    waiting: dict[Place, Sign] = {}
    for place, sign, passes, takes in steps:
        settling.note(place, sign, now)
        waiting[place] = waiting.get(place, Sign(0)) | sign
        if takes:
            for taken, signs in settling.take(now, limit).items():
                assert waiting.pop(taken) == signs
        assert len(settling) == len(waiting)
        now += passes
    for taken, signs in settling.take(now + LOOK_MAX_SECONDS, 100).items():
        assert waiting.pop(taken) == signs
    assert not waiting
    assert settling.next_due() is None


def test_in_a_hurry_a_file_that_is_being_written_is_due_at_once() -> None:
    settling = Settling()
    settling.note(A, Sign.CREATED, 10.0)
    settling.note(B, Sign.WRITING, 10.0)
    last = settling.hurry()
    assert settling.taken < last
    assert settling.take(10.0, 1) == {A: Sign.CREATED}
    settling.note(A, Sign.CREATED, 10.0)  # behind what was there before
    assert settling.take(10.0, 1) == {B: Sign.WRITING}
    assert settling.taken == last
