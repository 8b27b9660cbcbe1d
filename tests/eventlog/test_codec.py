"""The stored format: what was ever written is read for ever, and nothing else is."""

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog import codec
from eventlog.errors import CorruptRecordError
from eventlog.events import AnyEvent, Event, Moved
from eventlog.library import LibraryEvent
from tests.eventlog.golden_cases import GOLDEN
from tests.strategies import events

FOLDER = Path(__file__).parent / "golden"


def golden_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.msgpack"))


@pytest.mark.parametrize("name", golden_names())
def test_a_golden_record_decodes_as_what_it_was(name: str) -> None:
    record = (FOLDER / f"{name}.msgpack").read_bytes()
    assert codec.decode_any(record, 1) == GOLDEN[name]
    is_of_node = not isinstance(GOLDEN[name], LibraryEvent)
    assert codec.is_of_node(record) == is_of_node
    assert codec.is_move(record) == isinstance(GOLDEN[name], Moved)
    if is_of_node:
        assert codec.decode(record, 1) == GOLDEN[name]
    else:
        with pytest.raises(CorruptRecordError, match="position 1"):
            codec.decode(record, 1)


def test_every_case_has_its_record() -> None:
    """A new case is encoded and written to `golden/` once; no file there ever changes or goes."""
    assert golden_names() == sorted(GOLDEN)


def test_every_event_type_has_a_golden_record() -> None:
    decoded = {
        type(codec.decode_any((FOLDER / f"{n}.msgpack").read_bytes(), 1)) for n in golden_names()
    }
    assert decoded == set(get_args(AnyEvent))


@given(events())
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    assert codec.decode(codec.encode(event), 1) == event
    assert codec.decode_unchecked(codec.encode(event)) == event


@given(st.binary(max_size=64))
def test_bytes_that_are_no_event_are_refused_with_their_position(junk: bytes) -> None:
    try:
        event = codec.decode(junk, 77)
    except CorruptRecordError as error:
        told = str(error)
    else:
        assert codec.decode(codec.encode(event), 77) == event
        return
    assert told.startswith("position 77: record cannot be decoded: ")
    assert "\n" not in told


@given(events(), st.data())
def test_a_record_that_was_cut_is_refused(event: Event, data: st.DataObject) -> None:
    record = codec.encode(event)
    length = data.draw(st.integers(0, len(record) - 1))
    with pytest.raises(CorruptRecordError, match="position 5"):
        codec.decode(record[:length], 5)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    """A record from a newer program of the same format: one more field at the end."""
    record = (FOLDER / "removed-root.msgpack").read_bytes()
    length = record[0] - 0x90
    longer = bytes([0x90 + length + 1]) + record[1:] + b"\xc0"
    assert codec.decode(longer, 1) == GOLDEN["removed-root"]
