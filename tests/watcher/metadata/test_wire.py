import pytest

from watcher.metadata.task import Outcome, Status, Task
from watcher.metadata.wire import (
    FRAME_BYTES_MAX,
    Stage,
    Work,
    decode_outcomes,
    decode_works,
    encode_outcomes,
    encode_works,
    frame,
    take_frames,
)


def test_works_and_outcomes_come_back_as_they_were() -> None:
    works = [Work(Task(1, b"/\xff", 2, 3, 4, 5, want_hash=True), Stage.TYPE, "why", 1)]
    outcomes = [Outcome(1, Status.FAILED, 2, 3, 4, 5, b"\0" * 16, "a/b", 6, 7, 8, "no")]
    assert decode_works(encode_works(works)) == works
    assert decode_outcomes(encode_outcomes(outcomes)) == outcomes


def test_frames_may_arrive_in_any_pieces() -> None:
    stream = frame(b"one") + frame(b"") + frame(b"three")
    received = bytearray()
    taken: list[bytes] = []
    for byte in stream:
        received.append(byte)
        taken += take_frames(received)
    assert taken == [b"one", b"", b"three"]
    assert not received


def test_a_frame_that_cannot_be_true_is_refused() -> None:
    with pytest.raises(ValueError, match="frame of"):
        list(take_frames(bytearray((FRAME_BYTES_MAX + 1).to_bytes(4, "little"))))
